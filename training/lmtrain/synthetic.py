"""Structured text made by the pipeline: logs, tables, JSON.

Real logs and tables under free licences are few, and a small model trained on a few of
them learns their words instead of the habit that matters: fields repeat, times move on,
counters count. Each text here invents its own format (field order, separators, names,
value types) and then many records in it, so that only the habit can be learned.
"""

import json
import random

SYLLABLES = (
    "al an ar as at ba be bo ca ce co da de di do el en er es fa fi ga ge ha he in is ka ke la le "
    "li lo ma me mi mo na ne no or pa pe po ra re ri ro sa se si so ta te ti to un ur va ve vi wa"
).split()
WORDS = (
    "error warning info debug notice failed started stopped connection closed opened session user "
    "root admin server client request response timeout accepted refused invalid packet block disk "
    "memory kernel thread worker queue cache node cluster service module device interface driver "
    "received sent read write open close create delete update select insert address port size "
    "from for to of at in with by on the is was not no ok status code id name time date value "
    "count total job task event message data file path host key token record table index length"
).split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
LEVELS = [
    ["INFO", "WARN", "ERROR", "DEBUG"],
    ["info", "warning", "err", "notice"],
    ["[notice]", "[error]", "[warn]"],
    ["I", "W", "E", "D"],
    ["INFO", "FATAL", "SEVERE", "WARNING"],
]


def make(rng, size):
    """One synthetic text of about `size` bytes, UTF-8, in a format of its own."""
    maker = rng.choice([_log, _log, _log, _csv, _csv, _json, _json_lines])
    return maker(rng, size).encode("utf-8")


def _name(rng):
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))


def _word(rng):
    return rng.choice(WORDS) if rng.random() < 0.8 else _name(rng)


def _address(rng):
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


def _hexadecimal(rng, digits):
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


class _Clock:
    """A moving time printed in one of the usual ways."""

    def __init__(self, rng):
        self.rng = rng
        self.seconds = rng.randrange(86400 * 28)
        self.year, self.month = rng.randint(1998, 2026), rng.randrange(12)
        self.micros = 0
        self.style = rng.randrange(9)
        self.step = rng.choice([0.05, 0.3, 2, 10, 60, 900])

    def next(self):
        passed = self.rng.expovariate(1 / self.step)
        self.micros += int(passed * 1e6)
        self.seconds += self.micros // 1_000_000
        self.micros %= 1_000_000
        day, rest = divmod(self.seconds, 86400)
        day, weekday = day % 28 + 1, DAYS[day % 7]
        clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        month, year = self.month + 1, self.year
        return (
            f"{MONTHS[self.month]} {day:2d} {clock}",
            f"{year}-{month:02d}-{day:02d} {clock}",
            f"{year}-{month:02d}-{day:02d}T{clock}.{self.micros // 1000:03d}Z",
            f"[{weekday} {MONTHS[self.month]} {day:02d} {clock} {year}]",
            f"{day:02d}/{MONTHS[self.month]}/{year}:{clock} +0000",
            f"{year % 100:02d}{month:02d}{day:02d} {clock.replace(':', '')}",
            f"{1_000_000_000 + self.seconds}.{self.micros:06d}",
            f"{year}-{month:02d}-{day:02d}-{clock.replace(':', '.')}.{self.micros:06d}",
            f"{1_000_000_000 + self.seconds}",
        )[self.style]


def _value(rng):
    """A generator of values of one type, as found in one field of many records."""
    kind = rng.randrange(11)
    pool = [_name(rng) for _ in range(rng.randint(2, 12))]
    if kind == 0:
        return lambda: str(rng.choice(pool))
    if kind == 1:
        addresses = [_address(rng) for _ in range(rng.randint(1, 8))]
        return lambda: rng.choice(addresses) if rng.random() < 0.8 else _address(rng)
    if kind == 2:
        state = [rng.randrange(10 ** rng.randint(1, 6))]
        step = rng.choice([1, 1, 1, 2, 7, 16, 100])

        def count():
            state[0] += step if rng.random() < 0.9 else rng.randrange(5 * step)
            return str(state[0])

        return count
    if kind == 3:
        top = 10 ** rng.randint(1, 7)
        return lambda: str(rng.randrange(top))
    if kind == 4:
        digits = rng.choice([2, 4, 8, 8, 12, 16, 32])
        prefix = rng.choice(["", "0x", ""])
        known = [_hexadecimal(rng, digits) for _ in range(4)]
        return lambda: prefix + (rng.choice(known) if rng.random() < 0.5 else _hexadecimal(rng, digits))
    if kind == 5:
        decimals, scale = rng.randint(1, 6), 10 ** rng.randint(0, 3)
        middle = rng.uniform(-scale, scale)
        return lambda: f"{rng.gauss(middle, scale / 10):.{decimals}f}"
    if kind == 6:
        return lambda: rng.choice(["true", "false", "null", "-", "0", "1"])
    if kind == 7:
        root = "/".join(pool[:2])
        return lambda: f"/{root}/{rng.choice(pool)}{rng.choice(['', '.log', '.txt', '.html'])}"
    if kind == 8:
        return lambda: rng.choice(pool) + rng.choice(["-", "_", ":"]) + str(rng.randrange(1000))
    if kind == 9:
        return lambda: f"{rng.choice(pool).capitalize()} {rng.choice(pool).capitalize()}"
    codes = [str(rng.choice([200, 301, 404, 500, 22, 80, 443, 8080, 0, 1, 2])) for _ in range(4)]
    return lambda: rng.choice(codes)


def _log(rng, size):
    clock, levels = _Clock(rng), rng.choice(LEVELS)
    host, programs = _name(rng), [_name(rng) for _ in range(rng.randint(1, 5))]
    templates = []
    for _ in range(rng.randint(2, 12)):
        fields = [_value(rng) for _ in range(rng.randint(1, 3))]
        words = [_word(rng) for _ in range(rng.randint(3, 9))]
        for field in fields:
            words.insert(rng.randint(0, len(words)), field)
        templates.append((rng.choice(levels), rng.choice(programs), rng.random() ** 2, words))
    process, head = rng.randrange(100, 40000), rng.randrange(6)
    lines, total = [], 0
    while total < size:
        level, program, _, words = rng.choices(templates, [t[2] + 0.02 for t in templates])[0]
        if rng.random() < 0.2:
            process = rng.randrange(100, 40000) if rng.random() < 0.3 else process + 1
        body = " ".join(word if isinstance(word, str) else word() for word in words)
        line = (
            f"{clock.next()} {host} {program}[{process}]: {body}",
            f"{clock.next()} {level} {program}: {body}",
            f"{clock.next()} {process} {level} {program}: {body}",
            f"{clock.next()} {level} {body}",
            f"{level} {clock.next()} [{program}-{process % 16}] {body}",
            f"{_address(rng)} - - [{clock.next()}] \"GET /{program}/{body.split()[0]} HTTP/1.1\" 200 {process}",
        )[head]
        lines.append(line)
        total += len(line) + 1
    return "\n".join(lines) + "\n"


def _columns(rng):
    return [(_name(rng) if rng.random() < 0.5 else rng.choice(WORDS), _value(rng)) for _ in range(rng.randint(3, 12))]


def _csv(rng, size):
    columns, separator = _columns(rng), rng.choice([",", ",", ",", ";", "\t", "|", ", "])
    quote = rng.random() < 0.3
    clock = _Clock(rng) if rng.random() < 0.4 else None
    lines = [separator.join(name for name, _ in columns)] if rng.random() < 0.3 else []
    total = 0
    while total < size:
        cells = [clock.next()] if clock else []
        cells += [value() if rng.random() > 0.03 else "" for _, value in columns]
        if quote:
            cells = [f'"{cell}"' for cell in cells]
        lines.append(separator.join(cells))
        total += len(lines[-1]) + 1
    return "\n".join(lines) + "\n"


def _object(rng, columns, depth=0):
    """A JSON record: numbers as numbers where the text is one, some fields nested."""
    record = {}
    for index, (name, value) in enumerate(columns):
        text = value()
        plain = text.isdigit() and not (len(text) > 1 and text[0] == "0")
        record[name] = int(text) if plain else {"true": True, "false": False, "null": None}.get(text, text)
        if depth == 0 and index % 5 == 4:
            record[name] = _object(rng, columns[:2], 1)
    return record


def _json(rng, size):
    columns, indent = _columns(rng), rng.choice([None, 2, 2, 4])
    records, total = [], 0
    while total < size:
        records.append(_object(rng, columns))
        total += len(json.dumps(records[-1], indent=indent))
    separators = (",", ":") if indent is None and rng.random() < 0.6 else None
    return json.dumps(records, indent=indent, separators=separators)


def _json_lines(rng, size):
    columns, clock = _columns(rng), _Clock(rng)
    separators = rng.choice([(",", ":"), None])
    lines, total = [], 0
    while total < size:
        record = {"timestamp": clock.next(), **_object(rng, columns)}
        lines.append(json.dumps(record, separators=separators))
        total += len(lines[-1]) + 1
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    generator = random.Random()
    for _ in range(6):
        print(make(generator, 600).decode(), "\n-----")
