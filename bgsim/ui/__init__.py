"""What people look at: the command line and its bars."""
