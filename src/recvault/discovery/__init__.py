"""Find recordings: read lists, register the rows, and only then move the watermark."""
