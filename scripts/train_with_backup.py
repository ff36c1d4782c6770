#!/usr/bin/env python3
"""scripts/model_main.py with its checkpoints copied to another folder, such as a mounted Drive, that may fail or vanish.

    python scripts/train_with_backup.py --backup_dir DRIVE/face224 -- --pipeline_config_path=configs/NAME.config --model_dir=models/face224

Starts from the newest whole checkpoint of the two folders and says from which. A folder that fails does not stop the training:
the next checkpoint is tried again.
"""

import argparse
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from facedet.training import backup


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--backup_dir", required=True)
    parser.add_argument("--every_seconds", type=float, default=60, help="how often to look for a new checkpoint (default: %(default)s)")
    parser.add_argument("model_main", nargs="+", metavar="FLAG", help="flags of model_main.py, after --")
    args = parser.parse_args(argv)
    model_main = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    model_main.add_argument("--model_dir")
    model_dir = model_main.parse_known_args(args.model_main)[0].model_dir
    if not model_dir:
        parser.error("--model_dir is missing among model_main's flags")
    try:
        backup.restore(args.backup_dir, model_dir)
    except backup.BackupError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        print(f"warning: {args.backup_dir} cannot be read ({error}): going on with what is in {model_dir}.", flush=True)
    sys.stdout.flush()
    training = subprocess.Popen([sys.executable, str(pathlib.Path(__file__).with_name("model_main.py")), *args.model_main])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: training.send_signal(received))
    while True:
        try:
            code = training.wait(args.every_seconds)
            break
        except subprocess.TimeoutExpired:
            _save(model_dir, args.backup_dir)
    if not _save(model_dir, args.backup_dir):
        print(f"warning: the last checkpoint is in {model_dir} only. The same command copies it when the folder is back.")
    return code


def _save(model_dir: str, backup_dir: str) -> bool:
    try:
        step = backup.save(model_dir, backup_dir)
    except OSError as error:
        print(f"warning: step {backup.newest_step(model_dir)} could not be copied to {backup_dir} ({error}); training goes on.", flush=True)
        return False
    if step is not None:
        print(f"Step {step} is in {backup_dir}.", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
