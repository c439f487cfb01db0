"""The one exception for everything a user can cause and mend; the exit code of interruptions."""

# EX_TEMPFAIL of sysexits.h: saved, not finished; the same command goes on. Launchers and cluster
# managers start it again, as neither 0 (done) nor 1 (failed) would let them.
INTERRUPTED = 75


class SignBindError(Exception):
    """Bad input, bad usage or an impossible request, told in one line.

    The message names the file, the field, the value found and the value wanted.
    The command line prints it without a traceback (`--debug` shows the traceback).
    """
