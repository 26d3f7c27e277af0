"""Connection to an Apache Spark cluster; pyspark is an optional requirement."""
