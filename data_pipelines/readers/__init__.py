"""Reading the files that corpora consist of: poses, crops, tables, subtitles, annotations."""
