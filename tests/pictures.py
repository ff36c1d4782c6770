"""Pictures that tests share."""

import io
import struct
import zlib

from PIL import Image, PngImagePlugin


def bad_pictures() -> dict[str, bytes]:
    """{name: content}: no picture, a cut one, one whose text unpacks to more than Pillow takes, one that says it has 10^10 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    text, cut, bomb = PngImagePlugin.PngInfo(), io.BytesIO(), io.BytesIO()
    text.add_text("comment", "a" * 2**22, zip=True)
    Image.new("RGB", (40, 30)).save(bomb, "png", pnginfo=text)
    Image.effect_noise((200, 200), 50).save(cut, "jpeg")
    return {"text.png": bomb.getvalue(), "cut.jpg": cut.getvalue()[:900], "none.jpg": b"no picture", "empty.png": b"", "huge.png": huge}
