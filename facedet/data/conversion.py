"""A data set of faces -> TFRecord shards and a manifest in which every face that it states is accounted for."""

import collections
import dataclasses
import os
import pathlib
import random
import sys

from tqdm import tqdm

from facedet.data import records, shard, widerface, widerface_text, workers
from facedet.data.official_files import WiderFaceError
from facedet.data.shard import Known, Options, Summary
from facedet.data.source import Entry, Source
from facedet.data.widerface import WiderFace

SHARD_BYTES = 64 * 2**20


def convert(data_dir, output_dir, splits=("train", "val"), options=Options(), landmarks_path=None, eval_gt_dir=None, say=print) -> dict:
    """Writes the shards of `splits` and the manifest to `output_dir`; returns the manifest.

    What is there of those splits is replaced when all of them are whole; other splits stay. Raises WiderFaceError for input
    that cannot be used and RecordsError for an output_dir that cannot: what was there is then as it was.
    """
    landmarks = None
    if landmarks_path is not None:
        landmarks = widerface_text.load_landmarks(landmarks_path)
    eval_gt_dir = eval_gt_dir or widerface.find_eval_gt(data_dir)
    subsets = widerface.load_subsets(eval_gt_dir) if eval_gt_dir else None
    if "val" in splits and subsets is None:
        say("No official evaluation lists (wider_{easy,medium,hard}_val.mat) found: training will score val as one set.")
    return convert_sources([WiderFace(data_dir, split) for split in splits], output_dir, options, landmarks, subsets, say)


def convert_sources(sources, output_dir, options=Options(), landmarks=None, subsets=None, say=print) -> dict:
    """As convert(), of Sources of one data set.

    landmarks, subsets: as widerface_text.load_landmarks() and widerface.load_subsets() give them, or None.
    """
    output_dir = pathlib.Path(output_dir)
    parts = [part for source in sources for part in _plan(source, options)]
    splits_of = {"train": {"train", "holdout"}, "val": {"val"}}
    kept = records.splits_to_keep(output_dir, set().union(*(splits_of[source.split] for source in sources)))
    with records.new_set(output_dir, sum(part.bytes for part in parts)) as directory:
        made = _convert(parts, Known(subsets, landmarks), directory, options, say)
        manifest = {"classes": [records.CLASS_NAME], "attributes": sources[0].attributes, "splits": {**kept, **made}}
        records.write_manifest(directory, manifest)
    return manifest


def _recorded(options: Options) -> dict:
    """The options that decide what is written; not how fast."""
    return {key: value for key, value in dataclasses.asdict(options).items() if key != "num_workers"}


@dataclasses.dataclass(frozen=True)
class _Part:
    """A split to write: all of an official split, or the held-out or remaining part of it."""

    name: str
    source: Source
    entries: list[Entry]  # of the pictures that are there
    sizes: dict[str, int]  # of the source's pictures, bytes
    missing: list[Entry]
    repeated: list[tuple[Entry, Entry]]  # each with the one that is taken

    @property
    def bytes(self) -> int:
        """About what the shards take: the pictures, and what is said of them and of their faces."""
        return sum(self.sizes[entry.name] + 400 + 120 * len(entry.rows) for entry in self.entries)


def _plan(source: Source, options: Options) -> list[_Part]:
    """The splits to write from one official split: itself, and the held-out part of train where one is asked for."""
    first, repeated = {}, []
    for entry in source.annotation():
        if first.setdefault(entry.name, entry) is not entry:
            repeated.append((entry, first[entry.name]))
    entries = list(first.values())
    sizes = source.sizes()
    missing = [entry for entry in entries if entry.name not in sizes and not _is_something_else(source, entry)]
    if missing and not options.allow_missing_images:
        raise WiderFaceError(
            f"{len(missing):,} of {len(entries):,} {source.split} pictures are missing from {source.images_source}, "
            f"the first is {missing[0].name} ({missing[0].where}). Complete the folder, or go on without them: --allow_missing_images."
        )
    if len(missing) == len(entries):
        raise WiderFaceError(f"None of the {len(entries):,} {source.split} pictures is in {source.images_source}.")

    def part(name, chosen):
        there, absent = [entry for entry in chosen if entry.name in sizes], [entry for entry in chosen if entry.name not in sizes]
        return _Part(name, source, there, sizes, absent, [pair for pair in repeated if pair[1] in chosen])

    if source.split != "train" or not options.holdout_percent:
        return [part(source.split, entries)]
    by_event = collections.defaultdict(list)
    for entry in entries:
        by_event[entry.event].append(entry.name)
    held = set()
    for event, names in sorted(by_event.items()):
        random.Random(f"{options.seed} {event}").shuffle(names)
        held.update(names[: round(len(names) * options.holdout_percent / 100)])
    return [
        part("train", [entry for entry in entries if entry.name not in held]),
        part("holdout", [entry for entry in entries if entry.name in held]),
    ]


def _is_something_else(source: Source, entry: Entry) -> bool:
    """Whether a folder, a pipe or a link to nothing stands in a picture's place: reading it would fail, or never end."""
    return os.path.lexists(source.images_dir / entry.name) and not os.path.isfile(source.images_dir / entry.name)


def _convert(parts: list[_Part], known: Known, directory: pathlib.Path, options: Options, say) -> dict:
    """Writes the shards of all parts to `directory`, on all cores. Returns what the manifest says of each."""
    import tensorflow  # noqa: F401  (forked workers share it)

    tasks, summaries = [], {}
    for part in parts:
        summaries[part.name] = summary = Summary()
        for entry in part.missing:
            if _is_something_else(part.source, entry):
                summary.leave_out(
                    entry.where, "image_not_a_file", f"{entry.name} is a folder, a pipe or a link to nothing", entry.count, options
                )
            else:
                summary.leave_out(entry.where, "image_missing", None, entry.count, options)
        for entry, taken in part.repeated:
            summary.leave_out(entry.where, "image_repeated", f"{entry.name} is listed already, in {taken.where}", entry.count, options)
        order = list(part.entries)
        random.Random(options.seed).shuffle(order)
        num_shards = max(1, -(-sum(part.sizes[entry.name] for entry in order) // SHARD_BYTES))
        for number in range(num_shards):
            own = order[number::num_shards]
            path = records.shard_path(directory, part.name, number, num_shards)
            tasks.append((part.name, part.source, own, known.of(own), path, options))
    with tqdm(total=sum(len(part.entries) for part in parts), desc="pictures", unit="img", file=sys.stderr) as progress:
        try:
            for name, done in workers.run(shard.write, tasks, options.num_workers):
                summaries[name] += done
                progress.update(done.balance.images.total())
        except workers.WorkerDiedError as error:
            raise records.RecordsError(str(error)) from error
    notable = [problem for summary in summaries.values() for problem in summary.notable]
    for problem in notable[:20]:
        say(f"  {problem}")
    if len(notable) > 20:
        say(f"  ... and {len(notable) - 20} more; all of them are in {records.MANIFEST}")
    return {name: {**summary.as_dict(), "options": _recorded(options)} for name, summary in summaries.items()}
