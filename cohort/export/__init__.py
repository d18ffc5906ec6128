"""CDISC data sets of a virtual trial: ADaM data sets, written as transport, Dataset-JSON and Define-XML files."""
