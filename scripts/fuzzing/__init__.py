"""What makes up the fuzzer? Seeds, damage, hostile files, doors, a watched child."""
