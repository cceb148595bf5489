"""The archive: behaviours and chosen events as Parquet files by day, with a catalogue. Needs the extra `columnar`."""
