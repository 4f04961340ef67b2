"""What senders ask for (to leave, to erase, to list), and how it is carried out."""
