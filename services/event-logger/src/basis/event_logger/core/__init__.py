"""Pure parts of the event-logger: no files, no clock, no bus."""
