"""Writing datasets: shards by any number of processes, complete or not there at all."""
