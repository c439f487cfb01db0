PAGE_FILE = "sweep.html"
def write_sweep_page(path, found, ranking): pass
