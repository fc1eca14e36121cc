"""One module for each family of file formats: bytes in, arrays out, and back."""
