#!/usr/bin/env python3
"""Writes the machine-made samples beside this file: logs, CSV and JSON with the shape of the real thing.

Deterministic: the same bytes on every run, so a change of the generator shows as a change of the samples.
"""
import json
import math
import pathlib
import random

HERE = pathlib.Path(__file__).parent
random.seed(20260101)

PATHS = ["/", "/index.html", "/api/v1/items", "/api/v1/items/{}", "/static/app.{}.js", "/search?q={}", "/login", "/health"]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "curl/8.5.0",
]
WORDS = ["block", "segment", "extent", "inode", "lane", "token", "model", "cache", "index", "record", "digest", "mount"]


def clock(second):
    return "%02d:%02d:%02d" % (second // 3600 % 24, second // 60 % 60, second % 60)


def access_log(lines):
    second = 0
    hosts = ["10.%d.%d.%d" % tuple(random.randrange(256) for _ in range(3)) for _ in range(40)]
    for _ in range(lines):
        second += int(random.expovariate(0.4))
        path = random.choice(PATHS).format(random.randrange(5000))
        status = random.choices([200, 304, 404, 500], [80, 12, 6, 2])[0]
        yield '%s - - [02/Mar/2026:%s +0000] "GET %s HTTP/1.1" %d %d "-" "%s"\n' % (
            random.choice(hosts), clock(second), path, status, random.randrange(200, 40000), random.choice(AGENTS))


def service_log(lines):
    second = 0
    for n in range(lines):
        second += int(random.expovariate(0.2))
        unit = random.choice(["storaged", "indexer", "packer", "gateway"])
        kind = random.randrange(4)
        text = [
            "opened %s %d in %d us" % (random.choice(WORDS), random.randrange(10000), random.randrange(20, 9000)),
            "retry %d of 5: %s %08x is busy" % (random.randrange(1, 6), random.choice(WORDS), random.getrandbits(32)),
            "flushed %d records, %d bytes, queue %d" % (random.randrange(900), random.randrange(1 << 22), random.randrange(64)),
            "client %d: %s %s" % (random.randrange(300), random.choice(["GET", "PUT", "LIST"]), random.choice(WORDS)),
        ][kind]
        level = ["INFO", "WARN", "DEBUG", "INFO"][kind]
        yield "Mar  2 %s node%d %s[%d]: %-5s %s\n" % (clock(second), n % 3, unit, 1200 + len(unit), level, text)


def stations_csv(rows):
    yield "station,date,temperature_c,humidity_pct,wind_ms,pressure_hpa,note\n"
    for n in range(rows):
        day, station = n // 24, n % 24
        mean = 9 - 12 * math.cos(2 * math.pi * day / 365)
        yield "ST%03d,2025-%02d-%02d,%.1f,%d,%.1f,%.1f,%s\n" % (
            100 + station * 7, day // 28 % 12 + 1, day % 28 + 1, random.gauss(mean - station / 6, 2), random.randrange(35, 100),
            abs(random.gauss(4, 2)), random.gauss(1013, 6), random.choice(["", "", "", "", "calibrated", "sensor replaced"]))


def events_json(count):
    for n in range(count):
        yield json.dumps({
            "id": 700000 + n, "type": random.choice(["push", "fork", "issue", "comment"]),
            "actor": {"login": random.choice(WORDS) + str(random.randrange(90)), "admin": False},
            "repo": "%s/%s" % (random.choice(WORDS), random.choice(WORDS)), "size": random.randrange(4000),
            "created_at": "2026-03-02T%sZ" % clock(n * 7), "tags": random.sample(WORDS, random.randrange(4)),
        }) + "\n"


def write(name, parts):
    (HERE / name).write_text("".join(parts))


write("logs/access.log", access_log(550))
write("logs/service.log", service_log(1100))
write("csv/stations.csv", stations_csv(1600))
write("json/events.ndjson", events_json(420))
