"""Users by movie id in little memory: a hash of each id in place of its text.

A stream with damage has millions of different movie ids, nearly all of one user. As texts in a
dict they would take hundreds of bytes each; here they take 13.

The hash of an id of bytes c is the sum of R[c_i] * B^i over its positions i, modulo 2^64, with
random R and an odd B. So the hashes of all texts that lack one of its characters follow from sums
up to each position and from each position on, without making these texts.
"""

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from app.ingest import patterns

Hashes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int32]
Forms = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

#: Forms of an id: no movie can have it, it is valid, or it is valid and ends in a year.
INVALID, VALID, WITH_YEAR = 0, 1, 2
#: Users from which an id that ends in a year is common. The texts of common ids are kept, since
#: they are in nearly every bucket: to find a text among them is cheaper than to hash it.
COMMON_USERS = 50

_RNG = np.random.default_rng(20221114)
_BYTE_VALUES = _RNG.integers(0, 2**64, 256, np.uint64)
_BASE = 0x9E3779B97F4A7C15  # any odd number has an inverse modulo 2^64
_INVERSE_BASE = np.uint64(pow(_BASE, -1, 2**64))
_MIX = np.uint64(0xD6E8FEB86659FD93)
#: Added ids are merged when there are as many, or half of those merged before.
_MIN_UNMERGED_IDS = 200_000
_MAX_COMMON_IDS = 100_000
#: Bits of the number of a slot: hashes with the same first bits share one.
_MIN_SLOT_BITS, _MAX_SLOT_BITS, _MAX_START_BITS = 12, 24, 21
#: Texts whose sums are computed at once: about 20 MB.
_HASHED_AT_ONCE = 10_000
_IS_VALID_BYTE = np.array([bool(re.fullmatch(patterns.MOVIE_ID, chr(byte))) for byte in range(256)])
_YEAR_LENGTH = len("+1999")


class Deletions(NamedTuple):
    """Texts without one character that are valid, counted ids.

    Attributes:
        row: number of the text each was made from, ascending.
        position: the deleted character, counted from 0.
        users: users of the counted id.
        form: its form.
    """

    row: Positions
    position: Positions
    users: Counts
    form: Forms


class MovieCounts:
    """The number of users of each movie id as received, and the form of the id.

    Two ids with the same hash would count as one; with three million ids that has a probability
    of 1 to 4 million.
    """

    def __init__(self) -> None:
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._users: Counts = np.empty(0, np.int32)
        self._forms: Forms = np.empty(0, np.uint8)
        # One buffer, because many small arrays between temporary ones fragment the memory.
        self._unmerged = _allocate(_MIN_UNMERGED_IDS)
        self._unmerged_ids = 0
        #: Position of the first hash of each slot, or of the next slot with one.
        self._starts: npt.NDArray[np.int32] = np.zeros(2, np.int32)
        self._start_bits = 1
        self._filters: dict[int, tuple[int, Flags]] = {}
        self._common = pl.DataFrame(schema={"id": pl.String, "hash": pl.UInt64})

    def add(self, ids: pl.Series, users: pl.Series) -> None:
        """Add users of some ids, each of which occurs once in `ids`."""
        hashes, is_common = self._hash(ids)
        added = users.cast(pl.Int32).to_numpy()
        at, is_known = self._find(hashes)
        self._users[at[is_known]] += added[is_known]
        new = np.flatnonzero(~is_known)
        self._append(hashes[new], added[new], read_forms(ids[new]))
        is_frequent = is_known & ~is_common
        candidates = at[is_frequent]
        is_frequent[is_frequent] = (self._users[candidates] >= COMMON_USERS) & (
            self._forms[candidates] == WITH_YEAR
        )
        if is_frequent.any() and self._common.height < _MAX_COMMON_IDS:
            rows = np.flatnonzero(is_frequent)
            # Copies: a selection would keep the texts of all ids in memory.
            texts = pl.Series(ids[rows].to_list(), dtype=pl.String)
            found = pl.DataFrame({"id": texts, "hash": hashes[rows]})
            self._common = pl.concat([self._common, found], rechunk=True)

    @property
    def is_valid(self) -> Flags:
        """Whether each id is a valid movie id; in the order of `find`."""
        self._merge()
        return self._forms >= VALID

    @property
    def max_users(self) -> int:
        """The number of users of the most frequent id."""
        self._merge()
        return int(self._users.max(initial=0))

    def find(self, ids: pl.Series) -> Positions:
        """Return the number of each id among the counted ones, which must contain it."""
        self._merge()
        return self._find(self._hash(ids)[0])[0]

    def is_common(self, ids: pl.Series) -> pl.Series:
        """Return which ids are known to end in a year and have at least `COMMON_USERS`."""
        return ids.is_in(self._common["id"].implode())

    def look_up(self, ids: pl.Series) -> tuple[Counts, Forms]:
        """Return users (0 for an id that is not counted) and form of each id."""
        self._merge()
        at, is_known = self._find(hash_texts(ids))
        users, forms = np.zeros(len(ids), np.int32), np.zeros(len(ids), np.uint8)
        users[is_known], forms[is_known] = self._users[at[is_known]], self._forms[at[is_known]]
        if not is_known.all():
            forms[~is_known] = read_forms(ids[np.flatnonzero(~is_known)])
        return users, forms

    def find_deletions(self, texts: pl.Series, min_users: int) -> Deletions:
        """Find valid ids with at least `min_users` that are a text without one character."""
        self._merge()
        hashes, rows, positions = _hash_deletions(texts)
        bits, slots = self._filter(min_users)
        possible = np.flatnonzero(slots[_slots(hashes, bits)])
        at, is_known = self._find(hashes[possible])
        is_found = is_known & self._is_wanted(self._users[at], self._forms[at], min_users)
        possible, at = possible[is_found], at[is_found]
        return Deletions(rows[possible], positions[possible], self._users[at], self._forms[at])

    def _filter(self, min_users: int) -> tuple[int, Flags]:
        """Return which slots have a hash that `find_deletions` looks for: most lookups end here."""
        if min_users not in self._filters:
            wanted = self._hashes[self._is_wanted(self._users, self._forms, min_users)]
            bits = min(_MAX_SLOT_BITS, max(_MIN_SLOT_BITS, (4 * len(wanted)).bit_length()))
            slots = np.zeros(1 << bits, np.bool_)
            slots[_slots(wanted, bits)] = True
            self._filters[min_users] = bits, slots
        return self._filters[min_users]

    @staticmethod
    def _is_wanted(users: Counts, forms: Forms, min_users: int) -> Flags:
        return (forms >= VALID) & (users >= min_users)

    def _hash(self, ids: pl.Series) -> tuple[Hashes, Flags]:
        """Return the hash of each id, and whether its text was kept."""
        if self._common.is_empty():
            return hash_texts(ids), np.zeros(len(ids), np.bool_)
        known = ids.to_frame("id").join(self._common, on="id", how="left", maintain_order="left")
        is_common = known["hash"].is_not_null().to_numpy()
        hashes = known["hash"].fill_null(0).to_numpy().copy()
        hashes[~is_common] = hash_texts(ids[np.flatnonzero(~is_common)])
        return hashes, is_common

    def _find(self, hashes: Hashes) -> tuple[Positions, Flags]:
        """Return the number of each id among the merged ones, and whether it is there."""
        if not len(self._hashes):
            return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), np.bool_)
        at = self._starts[_slots(hashes, self._start_bits)].astype(np.int64)
        last = len(self._hashes) - 1
        np.minimum(at, last, out=at)
        left = np.flatnonzero((self._hashes[at] < hashes) & (at < last))
        while len(left):  # few ids share a slot, so these are few steps
            at[left] += 1
            left = left[(self._hashes[at[left]] < hashes[left]) & (at[left] < last)]
        return at, self._hashes[at] == hashes

    def _append(self, hashes: Hashes, users: Counts, forms: Forms) -> None:
        """Add ids that are not merged yet; merge them all when the buffer is full."""
        self._filters.clear()
        size = len(hashes)
        if self._unmerged_ids + size > len(self._unmerged[0]):
            self._merge()
            self._unmerged = _allocate(max(_MIN_UNMERGED_IDS, len(self._hashes) // 2, size))
        rows = slice(self._unmerged_ids, self._unmerged_ids + size)
        self._unmerged[0][rows] = hashes
        self._unmerged[1][rows] = users
        self._unmerged[2][rows] = forms
        self._unmerged_ids += size

    def _merge(self) -> None:
        if not self._unmerged_ids:
            return
        rows = slice(self._unmerged_ids)
        hashes = np.concatenate([self._hashes, self._unmerged[0][rows]])
        users = np.concatenate([self._users, self._unmerged[1][rows]])
        forms = np.concatenate([self._forms, self._unmerged[2][rows]])
        self._unmerged_ids = 0
        self._filters.clear()
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        starts = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]]) if len(hashes) else order
        self._hashes = hashes[starts]
        self._users = np.add.reduceat(users[order], starts) if len(starts) else users
        self._forms = forms[order][starts]
        self._start_bits = min(_MAX_START_BITS, max(_MIN_SLOT_BITS, len(starts).bit_length()))
        first = np.arange(1 << self._start_bits, dtype=np.uint64)
        first <<= np.uint64(64 - self._start_bits)
        self._starts = np.searchsorted(self._hashes, first).astype(np.int32)


def _allocate(size: int) -> tuple[Hashes, Counts, Forms]:
    return np.empty(size, np.uint64), np.empty(size, np.int32), np.empty(size, np.uint8)


def read_forms(ids: pl.Series) -> Forms:
    """Return the form of each id."""
    content, starts, ends = _join(ids)
    invalid_before = np.zeros(len(content) + 1, np.int32)
    np.cumsum(~_IS_VALID_BYTE[content], out=invalid_before[1:])
    lengths = ends - starts
    is_valid = (invalid_before[ends] == invalid_before[starts]) & (lengths > 0)
    is_valid &= lengths <= patterns.MAX_MOVIE_ID_LENGTH
    if len(content) and (content == ord("%")).any():  # escapes are valid, too
        rows = np.flatnonzero(~is_valid)
        others = ids[rows].to_frame("id").select(patterns.is_movie_id(pl.col("id"))).to_series()
        is_valid[rows] = others.to_numpy()
    rows = np.flatnonzero(is_valid & (lengths >= _YEAR_LENGTH))
    suffix = content[ends[rows][:, None] - np.arange(_YEAR_LENGTH, 0, -1)]
    is_digit = (suffix[:, 2:] >= ord("0")) & (suffix[:, 2:] <= ord("9"))
    has_year = (suffix[:, 0] == ord("+")) & np.isin(suffix[:, 1], [ord("1"), ord("2")])
    forms: Forms = is_valid.astype(np.uint8)
    forms[rows[has_year & is_digit.all(axis=1)]] = WITH_YEAR
    return forms


def hash_texts(texts: pl.Series) -> Hashes:
    """Return the hash of each text."""
    hashes = np.empty(len(texts), np.uint64)
    for first in range(0, len(texts), _HASHED_AT_ONCE):
        _, _, starts, ends, sums = _sum_positions(texts.slice(first, _HASHED_AT_ONCE))
        hashes[first : first + _HASHED_AT_ONCE] = sums[ends] - sums[starts]
    return _mix(hashes)


def _hash_deletions(texts: pl.Series) -> tuple[Hashes, Positions, Positions]:
    """Return hash, number of the text and position for each character that can be deleted.

    Characters beyond ASCII are replaced by one that no valid id contains: what remains after the
    deletion of another one must not be found.
    """
    if texts.str.len_bytes().sum() != texts.str.len_chars().sum():
        texts = texts.str.replace_all(r"[^\x00-\x7f]", "\x7f")
    rows, positions, starts, ends, sums = _sum_positions(texts)
    hashes = sums[ends][rows]
    hashes -= sums[1:]
    hashes *= _INVERSE_BASE
    hashes += sums[:-1]
    hashes -= sums[starts][rows]
    return _mix(hashes), rows, positions


def _sum_positions(
    texts: pl.Series,
) -> tuple[Positions, Positions, Positions, Positions, Hashes]:
    """Return text number and position of each byte, first and last byte of each text, and sums.

    `sums[i]` is the sum over the first i bytes of all texts.
    """
    content, starts, ends = _join(texts)
    lengths = ends - starts
    rows = np.repeat(np.arange(len(lengths)), lengths)
    positions = np.arange(len(content)) - np.repeat(starts, lengths)
    powers = np.full(int(lengths.max(initial=0)) + 1, _BASE, np.uint64)
    powers[0] = 1
    terms = np.take(_BYTE_VALUES, content)
    terms *= np.take(np.cumprod(powers), positions)
    sums = np.zeros(len(content) + 1, np.uint64)
    np.cumsum(terms, out=sums[1:])
    return rows, positions, starts, ends, sums


def _join(texts: pl.Series) -> tuple[npt.NDArray[np.uint8], Positions, Positions]:
    """Return the bytes of all texts, and where each text begins and ends."""
    content = np.frombuffer(texts.str.join().item().encode(), np.uint8)
    lengths = texts.str.len_bytes().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    return content, ends - lengths, ends


def _mix(values: Hashes) -> Hashes:
    """Spread the bits of sums, whose low bits depend on the low bits of their terms only."""
    values ^= values >> np.uint64(32)
    values *= _MIX
    values ^= values >> np.uint64(32)
    return values


def _slots(hashes: Hashes, bits: int) -> Positions:
    return (hashes >> np.uint64(64 - bits)).view(np.int64)
