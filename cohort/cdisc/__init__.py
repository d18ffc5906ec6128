"""CDISC's formats: described data sets, written and read as transport, Dataset-JSON and Define-XML files."""
