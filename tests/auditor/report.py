"""What the checks found: a line each for people, one JSON document for programs."""

FAILURES_SHOWN = 20


class Check:
    """One promise: how much was looked at, and what breaks it."""

    def __init__(self, name):
        self.name = name
        self.looked_at = 0
        self.failure_count = 0
        self.failures = []
        self.notes = []

    def expect(self, holds, message):
        """Counts one look; remembers the message if the promise does not hold. Returns whether it does."""
        self.looked_at += 1
        if not holds:
            self.fail(message)
        return bool(holds)

    def fail(self, message):
        self.failure_count += 1
        if len(self.failures) < FAILURES_SHOWN:
            self.failures.append(message)

    def note(self, message):
        """Something worth saying that breaks no promise."""
        self.notes.append(message)

    @property
    def ok(self):
        return self.failure_count == 0

    def line(self):
        if self.ok:
            return f"ok    {self.name}: {self.looked_at} checked"
        more = self.failure_count - len(self.failures)
        shown = [f"        {failure}" for failure in self.failures] + ([f"        and {more} more"] if more else [])
        return "\n".join([f"FAIL  {self.name}: {self.failure_count} of {self.looked_at}", *shown])


class Report:
    """All checks of one audit, in order."""

    def __init__(self):
        self.checks = []
        self.totals = {}

    def check(self, name):
        check = Check(name)
        self.checks.append(check)
        return check

    @property
    def ok(self):
        return all(check.ok for check in self.checks)

    def lines(self):
        for check in self.checks:
            yield check.line()
            for note in check.notes:
                yield f"note  {check.name}: {note}"

    def as_json(self):
        return {
            "ok": self.ok,
            "failed": [check.name for check in self.checks if not check.ok],
            "totals": self.totals,
            "checks": [
                {
                    "name": check.name,
                    "ok": check.ok,
                    "looked_at": check.looked_at,
                    "failure_count": check.failure_count,
                    "failures": check.failures,
                    "notes": check.notes,
                }
                for check in self.checks
            ],
        }
