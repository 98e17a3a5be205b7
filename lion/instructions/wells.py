"""When to stop asking for what is new: too little of what comes is kept. Pure."""

from dataclasses import dataclass

_FEWEST = 20  # candidates, of which a share says something
_MOST = 100  # candidates of which not one was kept: enough for any share


@dataclass(slots=True)
class Well:
    """Candidates of one kind since the last word on them; `least`: share to be kept, 0 to 1.

    Rounds are taken together until a share of them says something: a last round of two may well
    keep none by chance, and what it wanted would be lacking.
    """

    least: float
    tried: int = 0
    kept: int = 0

    def is_dry(self, tried: int, kept: int) -> bool:
        """Take one more round; say whether fewer than `least`, or none at all, were kept."""
        self.tried += tried
        self.kept += kept
        if self.tried < self._enough():
            return False
        dry = self.kept < max(1, self.least * self.tried)
        self.tried = self.kept = 0
        return dry

    def _enough(self) -> float:
        return min(_MOST, max(_FEWEST, 1 / self.least)) if self.least else _MOST
