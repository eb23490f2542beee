"""Cases for training: found in folders and tables, checked, split by patient, loaded onto one grid."""
