"""`facedet COMMAND ...` and `python -m facedet COMMAND ...`."""

import importlib
import sys

COMMANDS = {
    "detect": "faces in pictures, folders and films",
    "webcam": "faces of a camera, live",
    "benchmark": "latency, memory and size of detectors, side by side",
    "export": "a checkpoint as .tflite files (needs the extra 'train')",
    "doctor": "what is wrong with this machine, and how to mend it",
}
USAGE = "usage: facedet COMMAND [--help] ...\n\n" + "\n".join(f"  {name:11}{text}" for name, text in COMMANDS.items())


def main(argv=None) -> int:
    given = sys.argv[1:] if argv is None else list(argv)
    if not given or given[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if given else 2
    if given[0] not in COMMANDS:
        print(f"error: there is no command {given[0]!r}.\n{USAGE}", file=sys.stderr)
        return 2
    return run(given[0], given[1:])


def run(command: str, arguments: list[str] | None = None) -> int:
    """The exit code of a command; one sentence where a package that it needs is missing.  arguments: None for the process's own."""
    try:
        return importlib.import_module(f"facedet.commands.{command}").main(arguments)
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name == "facedet":
            raise
        way_out = {"cv2": "pip install opencv-python-headless", "pygame": "pip install pygame-ce"}.get(name)
        if command == "export":
            way_out = "pip install '.[train]' in a clone, with Python 3.11 or 3.12"
        print(f"error: facedet {command} needs the package {name}: {way_out or f'pip install {name}'}.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
