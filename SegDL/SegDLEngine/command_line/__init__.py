"""The segdl command, one file for each sub-command."""
