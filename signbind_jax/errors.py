"""The one exception for everything a user can cause and mend."""


class SignBindError(Exception):
    """Bad input, bad usage or an impossible request, told in one line.

    The message names the file, the field, the value found and the value wanted.
    The command line prints it without a traceback (`--debug` shows the traceback).
    """
