"""The same spec on Spark: DuckDB's SQL in Spark's dialect, and the lake as Spark tables."""
