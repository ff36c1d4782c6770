"""A network's structure as a picture: what runs in a row is one block, blocks stand by depth, heads are coloured.

Layout in inches, y downwards. A column of blocks has a gutter at its right, in whose lanes the connections run that skip a depth, so that
no line crosses a block.
"""

import collections
import dataclasses
import itertools
import re

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from facedet.evaluation.profile import Layer, Profile

_FONT_POINTS = 7
_CHARACTER = _FONT_POINTS / 72 * 0.603  # width of DejaVu Sans Mono's
_LINE, _PADDING, _GAP, _LANE, _MARGIN, _TITLE, _TIP = 0.135, 0.06, 0.26, 0.1, 0.25, 0.5, 0.03
_PLAIN, _MERGE, _FLOW, _SKIP = "#eceff1", "#fff3c4", "#546e7a", "#8e24aa"
HEADS = ("#90caf9", "#a5d6a7", "#ffcc80", "#f48fb1", "#ce93d8", "#80deea")
_SHORT = {"Conv2D": "conv", "CONV_2D": "conv", "DepthwiseConv2D": "depthwise", "DEPTHWISE_CONV_2D": "depthwise"}
_DOTS_PER_INCH = 110
_MAX_PIXELS = 2**16 - 1  # a side of what matplotlib renders


@dataclasses.dataclass(eq=False)
class Block:
    """Layers that run in a row. head: the kind of output that it gives, 'box' of box_head_0, or ''."""

    layers: list[Layer]
    sources: list["Block"] = dataclasses.field(default_factory=list)
    depth: int = 0
    column: int = 0
    left: float = 0.0
    top: float = 0.0
    width: float = 0.0
    height: float = 0.0

    @property
    def head(self) -> str:
        return re.split(r"_head|_?\d+$", self.layers[-1].output)[0]

    @property
    def centre(self) -> float:
        return self.left + self.width / 2

    @property
    def bottom(self) -> float:
        return self.top + self.height


@dataclasses.dataclass(frozen=True)
class Connection:
    """points: [(x, y)] of the line from block to block.  skips: whether it passes by a depth."""

    start: Block
    end: Block
    points: tuple[tuple[float, float], ...]
    skips: bool


def layout(profile: Profile) -> tuple[list[Block], list[Connection]]:
    """Every layer of the network in a block, and every connection between blocks."""
    blocks = _blocks(profile)
    _place(blocks)
    pairs = [(source, block) for block in blocks for source in block.sources]
    lanes = _lanes(pairs)
    left, rights = _MARGIN, {}
    for column in range(max(block.column for block in blocks) + 1):
        within = [block for block in blocks if block.column == column]
        width = max(len(line) for block in within for line in _lines(block)) * _CHARACTER + 2 * _PADDING
        for block in within:
            block.left, block.width = left, width
        rights[column] = left + width
        left += width + _LANE * (max((lane for block, lane in lanes.items() if block.column == column), default=-1) + 4)
    tracks, top = _tracks(pairs, rights, lanes), _MARGIN + _TITLE
    for depth, level in itertools.groupby(sorted(blocks, key=lambda block: block.depth), lambda block: block.depth):
        within = list(level)
        top += _LANE * max((track for (_, end), track in tracks.items() if end == depth), default=0)
        for block in within:
            block.top, block.height = top, len(block.layers) * _LINE + 2 * _PADDING
        top = max(block.bottom for block in within) + _GAP
    return blocks, [_connection(start, end, rights, lanes, tracks) for start, end in pairs]


def draw(profile: Profile, path: str) -> None:
    """Writes the picture; what kind it is, the name's suffix says. Raises OSError, and ValueError for another suffix and too large a network."""
    blocks, connections = layout(profile)
    width = max([block.left + block.width for block in blocks] + [x for line in connections for x, _ in line.points]) + _MARGIN
    height = max(block.bottom for block in blocks) + _MARGIN
    if max(width, height) * _DOTS_PER_INCH > _MAX_PIXELS:
        raise ValueError(f"{profile.name} would be {width:.0f} x {height:.0f} inches: too large to draw")
    figure = Figure((width, height), dpi=_DOTS_PER_INCH)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    title = f"{profile.name}\n{profile.parameters:,} parameters, {profile.multiply_adds / 1e6:.1f} M multiply-adds"
    axes.text(_MARGIN, _MARGIN, title, va="top", fontsize=9)
    for line in connections:
        colour = _SKIP if line.skips else _FLOW
        axes.add_line(Line2D(*zip(*line.points, strict=True), color=colour, linewidth=1.1, zorder=1))
        (_, before), (x, y) = line.points[-2:]
        sideways = before == y  # it comes in from the right, else from above
        tip = (x + _TIP, y) if sideways else (x, y - _TIP)
        axes.plot(*tip, marker="<" if sideways else "v", color=colour, markersize=4, zorder=3)
    kinds = sorted({block.head for block in blocks} - {""})
    colours = dict(zip(kinds, itertools.cycle(HEADS), strict=False))
    for block in blocks:
        merges = len(block.sources) > 1
        face = colours.get(block.head, _MERGE if merges else _PLAIN)
        box = (block.left, block.top), block.width, block.height
        axes.add_patch(Rectangle(*box, facecolor=face, edgecolor=_FLOW, linewidth=0.8, zorder=2))
        for i, text in enumerate(_lines(block, int((block.width - 2 * _PADDING) / _CHARACTER + 0.5))):
            y = block.top + _PADDING + (i + 0.5) * _LINE
            axes.text(block.left + _PADDING, y, text, family="DejaVu Sans Mono", fontsize=_FONT_POINTS, va="center", zorder=4)
    figure.savefig(path)


def _blocks(profile: Profile) -> list[Block]:
    image = Layer("image", "input", "", (), (*profile.input, 3), 0, 0, 0, "")
    takers = collections.Counter(source for layer in profile.layers for source in set(layer.sources))
    blocks: dict[str, Block] = {}  # {layer: the block that holds it}
    for layer in (image, *profile.layers):
        sources = [blocks[source] for source in dict.fromkeys(layer.sources)]
        alone = len(sources) == 1 and takers[layer.sources[0]] == 1 and not sources[0].layers[-1].output
        if alone:
            blocks[layer.name] = sources[0]
            sources[0].layers.append(layer)
        else:
            blocks[layer.name] = Block([layer], sources, 1 + max((source.depth for source in sources), default=-1))
    return list(dict.fromkeys(blocks.values()))


def _place(blocks: list[Block]) -> None:
    """Columns: what leads furthest goes on below its source, the rest goes to the right."""
    reach = dict.fromkeys(blocks, 0)
    for block in reversed(blocks):
        for source in block.sources:
            reach[source] = max(reach[source], reach[block] + 1)
    taken = set()
    for block in sorted(blocks, key=lambda block: (block.depth, -reach[block])):
        nearest = max(block.sources, key=lambda source: (source.depth, -source.column), default=block)
        free = (column for column in itertools.count(nearest.column) if (block.depth, column) not in taken)
        block.column = next(free)
        taken.add((block.depth, block.column))


def _lanes(pairs) -> dict[Block, int]:
    """{block: the lane, in the gutter of its column, of its connections that skip a depth}."""
    ends = {}
    for start, end in pairs:
        if _skips(start, end):
            ends[start] = max(ends.get(start, 0), end.depth)
    lanes, used = {}, collections.defaultdict(list)  # {(column, lane): [(first depth, last)]}
    for start, last in sorted(ends.items(), key=lambda item: (item[1] - item[0].depth, item[0].depth)):
        for lane in itertools.count():
            spans = used[start.column, lane]
            if all(last < first or start.depth > end for first, end in spans):
                break
        spans.append((start.depth, last))
        lanes[start] = lane
    return lanes


def _tracks(pairs, rights, lanes) -> dict[tuple[Block, int], int]:
    """{(block, a depth): the track, above that depth, of the block's connections that go aside there}."""
    spans = {}
    for start, end in pairs:
        if start.column != end.column:
            places = [*spans.get((start, end.depth), ()), _leaves(start, end, rights, lanes), _enters(start, end)]
            spans[start, end.depth] = min(places), max(places)
    tracks, used = {}, collections.defaultdict(list)  # {(depth, track): [(first x, last)]}
    for (start, depth), (first, last) in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
        free = (track for track in itertools.count() if all(last < x or first > to for x, to in used[depth, track]))
        tracks[start, depth] = next(free)
        used[depth, tracks[start, depth]].append((first, last))
    return tracks


def _skips(start: Block, end: Block) -> bool:
    return end.depth > start.depth + 1


def _leaves(start: Block, end: Block, rights, lanes) -> float:
    """x of a connection before it goes aside."""
    return rights[start.column] + _LANE * (lanes[start] + 2) if _skips(start, end) else start.centre


def _enters(start: Block, end: Block) -> float:
    """x at which it comes in from above: apart from what goes straight down, so that no two run on one line."""
    share = 0.5 if start.column == end.column else 0.75 if _skips(start, end) else 0.3
    return end.left + end.width * share


def _connection(start: Block, end: Block, rights, lanes, tracks) -> Connection:
    x, into, skips = _leaves(start, end, rights, lanes), _enters(start, end), _skips(start, end)
    beside = start.bottom - _PADDING - _LINE / 4  # from a block's last layer, into its first one
    begin = ((start.left + start.width, beside), (x, beside)) if skips else ((x, start.bottom),)
    if start.column != end.column:
        above = end.top - _GAP / 2 - _LANE * tracks[start, end.depth]
        return Connection(start, end, (*begin, (x, above), (into, above), (into, end.top)), skips)
    if skips:
        into = end.top + _PADDING + _LINE / 4
        return Connection(start, end, (*begin, (x, into), (end.left + end.width, into)), True)
    return Connection(start, end, (*begin, (x, end.top)), False)


def _lines(block: Block, width: int = 0) -> list[str]:
    """A line a layer: name, what it is, the shape that it gives at the right of `width` characters."""
    names = max(len(layer.name) for layer in block.layers)
    lines = []
    for layer in block.layers:
        window = ", ".join(part for part in layer.detail.split(", ") if part[:1].isdigit() or part.startswith("dilation"))
        text = f"{layer.name:{names}}  {_SHORT.get(layer.kind, layer.kind)} {window}".rstrip()
        shape = " x ".join(map(str, layer.shape))
        lines.append(f"{text}{shape:>{max(len(shape) + 2, width - len(text))}}")
    return lines
