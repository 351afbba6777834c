# Hashes, strings that grow, sorts, closures and objects that come and go.
use strict;
use warnings;

sub fill_hash {
    my %count;
    for my $i (1 .. 200_000) {
        my $key = "key" . ($i * 7919 % 50_021);
        $count{$key}{seen}++;
        push @{ $count{$key}{at} }, $i;
    }
    return \%count;
}

sub grow_string {
    my $text = "";
    for my $i (1 .. 300_000) {
        $text .= chr(97 + $i % 26) x ($i % 13);
        substr($text, 0, 1000) = "" if length($text) > 1_500_000;
    }
    return $text;
}

sub checksum { return unpack("%32C*", $_[0]) }

my $count = fill_hash();
my @keys = sort { $count->{$b}{seen} <=> $count->{$a}{seen} || $a cmp $b } keys %$count;
print scalar(@keys), " keys, first $keys[0] @{ $count->{$keys[0]}{at} }\n";
delete @{$count}{ grep { /7/ } @keys };
print scalar(keys %$count), " keys without a 7\n";

my $text = grow_string();
print length($text), " ", checksum($text), "\n";
my @words = sort { $a cmp $b } ($text =~ /([a-y]+)z/g);
print scalar(@words), " words ", checksum(join ",", @words), "\n";
(my $changed = $text) =~ s/(abc+)|(x+)/<$&>/g;
print length($changed), " ", checksum($changed), "\n";

my @numbers = map { ($_ * 1_103_515_245 + 12_345) % 2_147_483_648 } 1 .. 300_000;
my @sorted = sort { $a <=> $b } @numbers;
print "$sorted[0] $sorted[150_000] $sorted[-1]\n";

my $sum = 0;
for my $round (1 .. 50) {
    my @closures = map { my $n = $_; sub { $n * $round } } 1 .. 2_000;
    $sum += $_->() for @closures;
}
print "$sum\n";
