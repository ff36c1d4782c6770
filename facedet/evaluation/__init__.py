"""The WIDER FACE protocol in numpy."""
