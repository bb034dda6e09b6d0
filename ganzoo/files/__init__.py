"""Files and folders: written whole, read with care, cached."""
