"""Twins: images of a set that are equal, or that look equal, and a split of a set that keeps them together.

Two images are twins if the mean colours of their 16 x 16 cells differ by at most `NEAR` of 255, as a root mean square
over all cells and channels. Images that differ by slight noise, by resizing or by being saved as a JPEG of high quality
are mostly twins of their original; an image that is shifted by a pixel is none. Of 5,000 MNIST digits none are twins
(the two nearest differ by 6.4). Images that are almost empty may be taken for twins though they differ in a detail.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

NEAR = 4.0  # of 255
_CELLS = 16  # along each side
_AXES = 12  # principal axes over which candidates are searched
_MOST = 50_000  # different images; in a larger set twins are equal images alone
_AT_ONCE = 500  # images in memory as floats
_SLACK = 1e-3  # for rounding, of distances between candidates


def twins(images: np.ndarray) -> list[np.ndarray]:
    """The groups of images that are equal or look equal.

    Each group has one image that all others of the group are twins of: the first of the group.

    Args:
        images: uint8 (N, height, width, channels). In a set of more than 50,000 different images only equal images are
            twins.

    Returns:
        Indices of two or more images each, rising; no image is in two groups. The groups are in the order of their
        first images.
    """
    members: dict[bytes, list[int]] = {}
    for index, image in enumerate(images):
        members.setdefault(hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest(), []).append(index)
    equal = list(members.values())
    if 1 < len(equal) <= _MOST:
        cells = _cells(images, np.array([group[0] for group in equal]))
        equal = [[index for one in near for index in equal[one]] for near in _near(cells)]
    return [np.sort(group) for group in equal if len(group) > 1]


def without_twins(images: np.ndarray) -> np.ndarray:
    """The indices of all images but those that are twins of an earlier one, rising."""
    kept = np.ones(len(images), bool)
    for group in twins(images):
        kept[group[1:]] = False
    return np.flatnonzero(kept)


def split_in_two(order: np.ndarray, groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint halves of indices, equally many, with all members of a group in the same half.

    Without groups they are the first and the second half of `order`. A group that holds more than a tenth of all
    images (and more than four) is what the set consists of: its members are treated as separate images. A group that
    has no room in either half is left out.

    Args:
        order: a permutation of all indices (N,).
        groups: as `twins` gives them.

    Returns:
        (M,) and (M,), each in the order of `order`. M is N // 2, or slightly less where groups do not fit.
    """
    half, largest = len(order) // 2, max(4, len(order) // 10)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    kept = [group for group in groups if len(group) <= largest]
    sides, room = np.full(len(order), -1), [half, half]
    single = np.ones(len(order), bool)
    for group in sorted(kept, key=lambda group: (-len(group), place[group].min())):
        side = 0 if room[0] >= room[1] else 1
        single[group] = False
        if len(group) <= room[side]:
            sides[group] = side
            room[side] -= len(group)
    rest = order[single[order]]
    sides[rest[: room[0]]] = 0
    sides[rest[room[0] : room[0] + room[1]]] = 1
    one, other = (order[sides[order] == side] for side in (0, 1))
    count = min(len(one), len(other))
    return one[:count], other[:count]


def _near(cells: np.ndarray) -> list[list[int]]:
    """Every image with its twins among the later ones that are nobody's twins yet."""
    from scipy.spatial import cKDTree

    reach = NEAR * np.sqrt(cells.shape[1])
    centred = cells - cells.mean(axis=0)
    some = centred[np.linspace(0, len(cells) - 1, min(len(cells), 300)).astype(int)]
    _, _, axes = np.linalg.svd(some, full_matrices=False)
    positions = centred @ axes[:_AXES].T  # a projection: distances are at most those between the cells
    tree = cKDTree(positions)
    free = np.ones(len(cells), bool)
    groups = []
    for index in range(len(cells)):
        if not free[index]:
            continue
        found = np.asarray(tree.query_ball_point(positions[index], reach * (1 + _SLACK) + _SLACK))
        found = np.sort(found[free[found] & (found > index)])
        found = found[np.linalg.norm(cells[found] - cells[index], axis=1) <= reach]
        free[found] = False
        groups.append([index, *found.tolist()])
    return groups


def _cells(images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean colours of 16 x 16 cells, or the pixels of smaller images: float32 (N, numbers) in 0..255.

    Of the chosen images, some at a time: a large set is memory-mapped.
    """
    sides = images.shape[1:3]
    edges = [np.linspace(0, side, min(side, _CELLS) + 1).astype(int) for side in sides]
    areas = np.diff(edges[0])[:, None] * np.diff(edges[1])[None]
    cells = []
    for start in range(0, len(chosen), _AT_ONCE):
        part = images[chosen[start : start + _AT_ONCE]].astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(part, edges[0][:-1], axis=1), edges[1][:-1], axis=2)
        cells.append((sums / areas[..., None]).reshape(len(part), -1))
    return np.concatenate(cells)
