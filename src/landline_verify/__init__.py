"""The loss checker: clients that keep a journal, and a judge who reads nothing else.

`runner` makes a run: its `clients` write a `history`, `faults` harm the servers meanwhile, and in
the end `dumps` reads log and store. `checker` judges the history, and `report` tells what it found.

It shares no code with the server: a mistake made once would be made on both sides.
"""
