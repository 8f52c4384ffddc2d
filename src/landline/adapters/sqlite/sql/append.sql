-- One statement for a whole batch, and so one release of the interpreter's lock: with one step a
-- row, every row could wait out the other thread's switch interval (5 ms).
INSERT INTO log (offset, time_ms, key, value)
SELECT ? + key, ?, json_extract(value, '$[0]'),
       substr(?, json_extract(value, '$[1]'), json_extract(value, '$[2]'))
FROM json_each(?)
