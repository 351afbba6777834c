unsigned count_letters(const char *word);
