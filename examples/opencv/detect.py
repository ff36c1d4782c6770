"""Faces of a picture by OpenCV alone: python detect.py MODEL_float32_raw.onnx WIDTH HEIGHT PICTURE"""

import sys

import cv2
import numpy as np

model, width, height, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
net, picture = cv2.dnn.readNetFromONNX(model), cv2.imread(path)
image = cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
net.setInput(image[None].astype(np.float32))  # [1, height, width, 3] RGB 0..255
names = [name for name in ("raw_boxes", "raw_scores", "raw_landmarks") if name in net.getUnconnectedOutLayersNames()]
boxes, scores, *points = (output[0] for output in net.forward(names))
sides = np.array(picture.shape[:2], np.float32)  # fractions of the height and the width -> pixels
centres, sizes = boxes[:, :2] * sides, boxes[:, 2:] * sides
corners = np.hstack([centres - sizes / 2, sizes])[:, [1, 0, 3, 2]]  # x, y, width, height
for i in cv2.dnn.NMSBoxes(corners.tolist(), scores[:, 0].tolist(), 0.5, 0.5):
    x, y, w, h = corners[i]
    print(
        f"{scores[i, 0]:.3f} {x:.1f} {y:.1f} {x + w:.1f} {y + h:.1f}",
        *(f"{px:.1f},{py:.1f}" for p in points for py, px in p[i].reshape(-1, 2) * sides),
    )
