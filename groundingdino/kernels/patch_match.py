"""Nearest patches (PatchMatch: Barnes et al. 2009) and the votes of their pixels, compiled by numba.

Pictures are float32 of shape (H, W * 4): red, green, blue and texture of a pixel side by side, so that a row of a patch
is one piece of memory. A patch is a square of 2 * `RADIUS` + 1 pixels, named by its middle (y, x), which lies at least
`RADIUS` pixels inside.
"""

import numpy as np

from groundingdino.kernels.numba_sampling import compiled

CHANNELS = 4
RADIUS = 3  # of a patch, in pixels
AREA = (2 * RADIUS + 1) ** 2  # pixels of a patch
TOO_FAR = np.float32(1e30)
# Share of the squared difference of mean colours that counts: patches may be lightened or darkened to fit (Darabi et
# al. 2012), so that a sky can go on whose colour changes from one side to the other.
SHIFT = np.float32(0.2)


@compiled
def distance(now, known, means, known_means, y, x, v, u, best):
    """Squared difference of the patches at (y, x) of `now` and (v, u) of `known`; `TOO_FAR` where it is over `best`."""
    shift = np.float32(0)
    for channel in range(3):
        step = means[y, x * CHANNELS + channel] - known_means[v, u * CHANNELS + channel]
        shift += step * step
    allowed = (1 - SHIFT) * AREA * shift
    most = best + allowed
    total = np.float32(0)
    left, other = (x - RADIUS) * CHANNELS, (u - RADIUS) * CHANNELS
    for row in range(-RADIUS, RADIUS + 1):
        part = np.float32(0)
        for column in range(CHANNELS * (2 * RADIUS + 1)):
            step = now[y + row, left + column] - known[v + row, other + column]
            part += step * step
        total += part
        if total > most:
            return TOO_FAR
    return np.float32(total - allowed)


@compiled
def measure(now, known, means, known_means, places, nearest, cost):
    """Writes each place's distance to its nearest patch into `cost` (H, W)."""
    for index in range(len(places)):
        y, x = places[index, 0], places[index, 1]
        v, u = nearest[y, x, 0], nearest[y, x, 1]
        cost[y, x] = distance(now, known, means, known_means, y, x, v, u, TOO_FAR / 2)


@compiled
def sweep(now, known, means, known_means, usable, places, nearest, cost, backwards, reach, seed):
    """Improves the nearest patches in one pass: by what the neighbours found, and by lot, ever closer to it.

    Args:
        usable: (H, W) bool, where the middle of a patch may lie that is copied.
        places: (N, 2) int32, the patches to find, row by row.
        nearest: (H, W, 2) int32, what was found for each, -1 elsewhere; written.
        cost: (H, W) float32, its distance; written.
        backwards: From the last place to the first.
        reach: Radius in pixels of the random search around the best match, to begin with.
        seed: Of the lot, not 0.
    """
    height, width = usable.shape
    state = np.uint64(seed) * np.uint64(2654435761)
    count = len(places)
    step = 1 if backwards else -1
    for number in range(count):
        index = count - 1 - number if backwards else number
        y, x = places[index, 0], places[index, 1]
        best_v, best_u, best = nearest[y, x, 0], nearest[y, x, 1], cost[y, x]
        for axis in range(2):
            near_y, near_x = (y, x + step) if axis == 0 else (y + step, x)
            if nearest[near_y, near_x, 0] < 0:
                continue
            v = nearest[near_y, near_x, 0] - (near_y - y)
            u = nearest[near_y, near_x, 1] - (near_x - x)
            if 0 <= v < height and 0 <= u < width and usable[v, u] and (v != best_v or u != best_u):
                found = distance(now, known, means, known_means, y, x, v, u, best)
                if found < best:
                    best_v, best_u, best = v, u, found
        around = reach
        while around >= 1:
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            span = np.uint64(2 * around + 1)
            v = best_v + np.int64(state % span) - around
            u = best_u + np.int64((state >> np.uint64(32)) % span) - around
            around //= 2
            if 0 <= v < height and 0 <= u < width and usable[v, u]:
                found = distance(now, known, means, known_means, y, x, v, u, best)
                if found < best:
                    best_v, best_u, best = v, u, found
        nearest[y, x, 0], nearest[y, x, 1], cost[y, x] = best_v, best_u, best


@compiled
def vote(known, means, known_means, places, nearest, weights, votes):
    """Add to `votes` (H, W, 5) what each patch proposes for the pixels it is copied to.

    The last channel of `votes` is the sum of `weights` (H, W).
    """
    shift = np.zeros(CHANNELS, np.float32)
    for index in range(len(places)):
        y, x = places[index, 0], places[index, 1]
        v, u, weight = nearest[y, x, 0], nearest[y, x, 1], weights[y, x]
        for channel in range(3):
            shift[channel] = means[y, x * CHANNELS + channel] - known_means[v, u * CHANNELS + channel]
        for row in range(-RADIUS, RADIUS + 1):
            for column in range(-RADIUS, RADIUS + 1):
                start = (u + column) * CHANNELS
                for channel in range(CHANNELS):
                    said = known[v + row, start + channel] + shift[channel]
                    votes[y + row, x + column, channel] += weight * said
                votes[y + row, x + column, CHANNELS] += weight
