"""What operators and their alarms read: health, metrics, reports and progress."""
