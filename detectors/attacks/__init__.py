"""What attackers do that no single message shows: scans, impostors, floods, replays, known malware."""
