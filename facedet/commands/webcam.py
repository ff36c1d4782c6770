"""Live faces from a camera, a film or a stream: boxes, landmarks where the detector has them, frames a second and latency.

    facedet webcam                                        # the first camera, the shipped int8 detector
    facedet webcam --source film.mp4 --detector 320-fast --output clip.mp4
    facedet webcam --source film.mp4 --headless --frames 50 --output clip.mp4

In the window: q or Esc ends, r begins and ends a clip. A camera's newest frame is taken, whatever was missed; a film's every one.
"""

import argparse
import collections
import pathlib
import sys
import threading
import time

import cv2
import numpy as np

from facedet import DetectorError, FaceDetector
from facedet.runtime import drawing
from facedet.runtime.shipped import DEFAULT, NAMES

CLIP_RATE = 25.0  # where the source does not tell its own


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(
        prog="facedet webcam", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--source", default="0", help="a camera's number, a film, or a stream's address (default: %(default)s)")
    parser.add_argument(
        "--detector", "--tflite", default=DEFAULT, metavar="NAME|FILE", help=f"{', '.join(NAMES)} or a file (default: %(default)s)"
    )
    parser.add_argument("--score_threshold", type=float, default=0.5)
    parser.add_argument("--num_threads", type=int, default=2)
    parser.add_argument("--output", metavar="FILE.mp4", help="a clip with the boxes")
    parser.add_argument("--headless", action="store_true", help="no window; say what was found at the end")
    parser.add_argument("--frames", type=int, default=0, help="end after so many; 0: when the source ends")
    args = parser.parse_args(argv)
    try:
        detector = FaceDetector(args.detector, args.score_threshold, args.num_threads)
        source = Source(args.source)
        window = None if args.headless else Window(source.width, source.height)
        clip = Clip(args.output, source.rate) if args.output else None
    except (DetectorError, WebcamError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    meter, count, faces_seen, code = Meter(), 0, 0, 0
    try:
        while not args.frames or count < args.frames:
            image = source.read()
            if image is None:
                break
            begin = time.perf_counter()
            faces = detector.detect(image)
            meter.add(time.perf_counter() - begin)
            count, faces_seen = count + 1, faces_seen + len(faces)
            drawn = drawing.draw_boxes(image, faces.boxes, scores=faces.scores, landmarks=faces.landmarks)
            drawn = drawing.draw_caption(drawn, f"{meter.frames_per_second:.1f} frames/s   {meter.latency_ms:.1f} ms   faces: {len(faces)}")
            if clip:
                clip.write(drawn)
            if window:
                key = window.show(drawn)
                if key == "quit":
                    break
                if key == "record":
                    if clip:
                        print(clip.close())
                        clip = None
                    else:
                        clip = Clip(time.strftime("facedet-%Y%m%d-%H%M%S.mp4"), source.rate)
    except KeyboardInterrupt:
        pass
    except (DetectorError, WebcamError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    finally:
        source.close()
        if window:
            window.close()
        if clip:
            print(clip.close())
    if not count:
        print(f"error: {args.source} gave no frame.", file=sys.stderr)
        return 1
    print(
        f"{count} frames, {faces_seen} faces; detection {meter.median_ms:.1f} ms at the median, {meter.frames_per_second:.1f} frames/s at the end."
    )
    return code


class WebcamError(Exception):
    """A source, a window or a clip that cannot be opened; the message says what would do."""


class Source:
    """Frames of a camera, a film or a stream, RGB uint8 [H, W, 3]. Raises WebcamError where there are none."""

    def __init__(self, source: str):
        self._live = source.isdigit() or "://" in source
        if not self._live and not pathlib.Path(source).is_file():
            raise WebcamError(f"--source {source}: no such film. A camera is a number, a stream begins with its protocol, such as rtsp://.")
        self._capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
        if not self._capture.isOpened():
            way_out = "Is it plugged in, free, and allowed? Others are 1, 2 ..." if source.isdigit() else "Can OpenCV read it?"
            raise WebcamError(f"--source {source} cannot be opened. {way_out}")
        self.width, self.height = (int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or CLIP_RATE
        self._newest, self._ended, self._changed = None, False, threading.Condition()
        if self._live:
            threading.Thread(target=self._keep_newest, daemon=True).start()

    def _keep_newest(self) -> None:
        while not self._ended:
            there, frame = self._capture.read()
            with self._changed:
                self._newest = frame if there else None
                self._ended |= not there  # close() may have set it meanwhile
                self._changed.notify()

    def read(self) -> np.ndarray | None:
        """The next frame (of a camera: one not seen yet, the newest), or None at the end."""
        if self._live:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._ended)
                frame, self._newest = self._newest, None
        else:
            there, frame = self._capture.read()
            frame = frame if there else None
        return None if frame is None else cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        if self._live:
            self._ended = True  # its thread may be reading still: the capture goes with the process
        else:
            self._capture.release()


class Meter:
    """Frames a second, over the last ones, and how long detection takes; the median is that of the last 10,000 frames."""

    def __init__(self, window: int = 30):
        self._seconds, self._at, self._window = collections.deque(maxlen=10_000), collections.deque(maxlen=window), window

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)
        self._at.append(time.perf_counter())

    @property
    def frames_per_second(self) -> float:
        return (len(self._at) - 1) / (self._at[-1] - self._at[0]) if len(self._at) > 1 else 0.0

    @property
    def latency_ms(self) -> float:
        return float(np.median(list(self._seconds)[-self._window :])) * 1e3

    @property
    def median_ms(self) -> float:
        return float(np.median(self._seconds)) * 1e3


class Clip:
    """An .mp4 under a temporary name until it is closed. Raises WebcamError where it cannot be written."""

    def __init__(self, path: str, rate: float):
        self.path, self._rate, self._writer, self._frames = pathlib.Path(path), rate, None, 0
        self._temporary = self.path.with_name(f".{self.path.stem}.tmp.mp4")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WebcamError(f"--output {path}: its folder cannot be made: {error.strerror}.") from error
        if self.path.is_dir():
            raise WebcamError(f"--output {path} is a folder; name a file in it, such as {self.path / 'clip.mp4'}.")

    def write(self, image: np.ndarray) -> None:
        if self._writer is None:
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.VideoWriter_fourcc(*"mp4v"), self._rate, image.shape[1::-1])
            if not self._writer.isOpened():
                raise WebcamError(f"OpenCV cannot write {self.path}.")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> str:
        if not self._frames:
            return f"No frame came: {self.path} was not written."
        self._writer.release()
        self._temporary.replace(self.path)
        return f"{self._frames} frames are in {self.path}."


class Window:
    """A window of the picture's size that tells of keys. Raises WebcamError where there is no screen."""

    def __init__(self, width: int, height: int):
        import os

        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self._pygame = pygame
        try:
            pygame.display.init()
            self._screen = pygame.display.set_mode((width, height), pygame.RESIZABLE)
        except pygame.error as error:
            raise WebcamError(f"no window can be opened ({error}): without a screen, add --headless --output clip.mp4.") from error
        pygame.display.set_caption("facedet")

    def show(self, image: np.ndarray) -> str | None:
        """Shows RGB uint8 [H, W, 3]; returns 'quit' or 'record' where its key was pressed."""
        pygame = self._pygame
        surface = pygame.image.frombuffer(np.ascontiguousarray(image), image.shape[1::-1], "RGB")
        self._screen.blit(pygame.transform.smoothscale(surface, self._screen.get_size()), (0, 0))
        pygame.display.flip()
        for event in pygame.event.get():
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key in (pygame.K_q, pygame.K_ESCAPE)):
                return "quit"
            if event.type == pygame.KEYDOWN and event.key == pygame.K_r:
                return "record"
        return None

    def close(self) -> None:
        self._pygame.display.quit()


if __name__ == "__main__":
    sys.exit(main())
