# Strings, hashes, arrays and regular expressions.
use strict;
my $total = 0;
for my $round (1 .. 4) {
    my %index;
    for my $i (0 .. 59_999) {
        my $word = 'w' . ($i * 7919 % 5003) . 'x' x ($i % 40);
        $index{$word}{count}++;
        push @{ $index{$word}{places} }, [int($i / 80), $i % 80];
    }
    my $text = join ',', map { "$_:$index{$_}{count}" } sort keys %index;
    $total += length $text;
    $total += length uc $_ for split /,/, $text;
    (my $other = $text) =~ s/x+/<$round>/g;
    $total += length $other;
}
print "$total\n";
