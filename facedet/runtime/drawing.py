"""Pictures with boxes, by Pillow."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FOUND, TRUTH, IGNORED, POINT = "#00e676", "#2979ff", "#ff9100", "#ffea00"


def draw_boxes(image: np.ndarray, boxes_xyxy_px, color: str = FOUND, scores=None, landmarks=None) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> a copy with boxes [N, 4], their scores [N] and landmarks [N, 5, 2] drawn in."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    longest = max(image.shape[:2])
    font = ImageFont.load_default(max(10, round(longest / 100)))
    for i, box in enumerate(np.asarray(boxes_xyxy_px).reshape(-1, 4)):
        left, top, right, bottom = (float(side) for side in box)
        width = max(2, round(min(longest / 250, (right - left) / 12)))  # of a line that leaves a small face to be seen
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=color, width=width)
        if scores is not None and right - left >= 2.4 * font.size:
            text = f"{scores[i]:.2f}"
            at = (left, max(0.0, top - font.size - 1))
            draw.rectangle(draw.textbbox(at, text, font), fill=color)
            draw.text(at, text, fill="black", font=font)
        if landmarks is not None:
            radius = max(1.0, min(width, (right - left) / 16))  # the eyes of a small face stay apart
            for x, y in landmarks[i]:
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=POINT)
    return np.asarray(picture)


def draw_caption(image: np.ndarray, text: str) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> a copy with a line of text in its upper left corner."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(12, round(max(image.shape[:2]) / 40)))
    left, top, right, bottom = draw.textbbox((4, 4), text, font)
    draw.rectangle((left - 4, top - 4, right + 4, bottom + 4), fill="#202020")
    draw.text((4, 4), text, fill="white", font=font)
    return np.asarray(picture)


def contact_sheet(images: list[np.ndarray], columns: int = 4, side: int = 320) -> np.ndarray:
    """RGB pictures of any size -> one uint8 picture with each fitted into a square of `side` pixels, row by row."""
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * side, max(rows, 1) * side), "#202020")
    for i, image in enumerate(images):
        picture = Image.fromarray(image)
        picture.thumbnail((side - 4, side - 4))
        x, y = i % columns * side, i // columns * side
        sheet.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
    return np.asarray(sheet)
