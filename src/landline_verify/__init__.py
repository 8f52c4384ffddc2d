"""The loss checker: clients that keep a journal, and a judge who reads nothing else.

It shares no code with the server: a mistake made once would be made on both sides.
"""
