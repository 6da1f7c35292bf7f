"""A checksum over a whole HDF5 file, which is checked before HDF5 opens it: on damaged files HDF5 hangs, or crashes the process.

HDF5 leaves the first bytes of a file to its user, if told to. There stands one line, "dmft seal: sha256 <hex>", of all that follows.
The bytes of a file whose seal is right are those that dmft wrote. It guards against accidents, not against forgery.
"""

import hashlib
import os

#: Bytes before the HDF5 content: a power of two of at least 512.
BLOCK = 512
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def seal(path):
    """Write the checksum of a closed file into its first block, and sync it to disk."""
    with open(path, "r+b") as file:
        file.seek(BLOCK)
        line = _seal(file)
        file.seek(0)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def is_sealed(path):
    """Whether a file is, byte for byte, as `seal` left it."""
    with open(path, "rb") as file:
        return file.read(BLOCK) == _seal(file)


def is_hdf5(path):
    """Whether the signature of HDF5 is where it may be: at 0, or at 512 times a power of two."""
    place, size = 0, os.path.getsize(path)
    with open(path, "rb") as file:
        while place < size:
            file.seek(place)
            if file.read(len(_SIGNATURE)) == _SIGNATURE:
                return True
            place = 2 * place or 512
    return False


def _seal(file):
    """The first block that belongs to the rest of an open file, read from its present position on."""
    return f"dmft seal: sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode().ljust(BLOCK, b"\0")
