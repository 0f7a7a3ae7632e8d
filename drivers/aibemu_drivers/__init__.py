"""The drivers that come with aibemu. They use the same door as a third party's: the entry points `aibemu.drivers`."""
