"""How fast is perdure, beside DBOS Transact on SQLite and beside the disk itself?

    python -m benchmarks                all of it, some minutes; prints a table, writes a picture
    python -m benchmarks --quick        a small one of each, to see that it works
    python -m benchmarks --only chain many

scenarios      what is measured, how large, in which unit
on_perdure     the scenarios as one would write them with perdure   } each in a fresh process for each
on_dbos        the same with DBOS                                    } measurement, one JSON object as its answer
on_engine      the engine and its file alone: long histories, many open runs
on_disk        the floor: append and fdatasync, without any engine
measure        starts those processes, kills one, reads their answers
machine        which machine and which versions
table, picture the results for a terminal, for Markdown, and as an SVG
"""
