"""What takes longer than a test may: each file is a program that writes its result beside it, `make full`."""
