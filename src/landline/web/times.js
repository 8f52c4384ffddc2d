// Points in time as people read them, in their own language and time zone.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDate = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
});
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** Return the time of day. */
export function timeOfDay(time) {
  return clock.format(new Date(time));
}

/** Return date and time down to the second. */
export function exactTime(time) {
  return exact.format(new Date(time));
}

/** Return a name of the local day that is the same for all its times. */
export function dayKey(time) {
  return new Date(time).toDateString();
}

/** Return the day as a headline. */
export function dayName(time) {
  if (dayKey(time) === dayKey(Date.now())) return "Today";
  if (dayKey(time) === yesterday()) return "Yesterday";
  return longDate.format(new Date(time));
}

/** Return the time of day today, the date otherwise: what fits into a list. */
export function shortTime(time) {
  if (dayKey(time) === dayKey(Date.now())) return timeOfDay(time);
  return dayKey(time) === yesterday() ? "Yesterday" : date.format(new Date(time));
}

function yesterday() {
  const day = new Date();
  day.setDate(day.getDate() - 1); // not minus 24 hours: some days have 23
  return day.toDateString();
}
