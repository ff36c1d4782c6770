"""facedet: from WIDER FACE to a quantized face detector on a phone."""
