#!/usr/bin/perl
# What scenarios.py says, with Perl's Net::Stomp.
use strict;
use warnings;
use JSON::PP;
use Log::Any::Adapter 'Null';
use Net::Stomp;

my ($port, $version, $scenario, $name) = @ARGV;
my ($topic, $queue) = ("/topic/$name", "/queue/$name");
$| = 1;

sub client {
    my ($passcode) = @_;
    my $stomp = Net::Stomp->new({ hostname => '127.0.0.1', port => $port, reconnect_on_fork => 0 });
    my $frame = $stomp->connect({
        login => $ENV{STOMP_LOGIN}, passcode => $passcode // $ENV{STOMP_PASSCODE},
        'accept-version' => $version, host => '/',
    });
    return ($stomp, $frame);
}

sub frame {
    my ($stomp, $command) = @_;
    my $frame = $stomp->receive_frame({ timeout => 20 }) or die "no $command";
    die $frame->as_string unless $frame->command eq $command;
    return $frame;
}

# A message that was refused may come again before.
sub receipt {
    my ($stomp) = @_;
    while (my $frame = $stomp->receive_frame({ timeout => 20 })) {
        return $frame->headers->{'receipt-id'} if $frame->command eq 'RECEIPT';
        die $frame->as_string unless $frame->command eq 'MESSAGE';
    }
    die 'no RECEIPT';
}

sub subscribed {
    my ($stomp, $destination, %more) = @_;
    $stomp->subscribe({ destination => $destination, receipt => 'subscribed', %more });
    frame($stomp, 'RECEIPT');
}

sub send_to { my ($stomp, $to, $body, %more) = @_;
    $stomp->send({ destination => $to, body => $body, %more }) }

sub until_end {
    my ($stomp) = @_;
    my @got;
    while ((my $body = frame($stomp, 'MESSAGE')->body) ne 'end') { push @got, $body }
    return @got;
}

# Its own disconnect() asks for no receipt.
sub bye {
    my ($stomp) = @_;
    $stomp->send_frame(Net::Stomp::Frame->new(
        { command => 'DISCONNECT', headers => { receipt => 'bye' } }));
    return receipt($stomp);
}

# By itself it names a message as STOMP 1.0 does; later versions want more.
sub answer {
    my ($stomp, $verb, $frame) = @_;
    my $headers = $frame->headers;
    my %more = $version eq '1.0' ? () : $version eq '1.1' ? (subscription => 1) : (id => $headers->{ack});
    $stomp->$verb({ frame => $frame, receipt => 'answered', %more });
    receipt($stomp);
}

sub ack_scenario {
    my ($mode) = @_;
    my ($stomp) = client();
    send_to($stomp, $queue, $_) for 1 .. 3;
    $stomp->subscribe({ destination => $queue, id => 1, ack => $mode });
    my @frames = map { frame($stomp, 'MESSAGE') } 1 .. 3;
    answer($stomp, ack => $frames[1]);
    bye($stomp);
    my ($again) = client();
    send_to($again, $queue, 'end');
    $again->subscribe({ destination => $queue, id => 1, ack => 'auto' });
    my @again = until_end($again);
    bye($again);
    return { first => [ map { $_->body } @frames ], again => \@again };
}

my %scenarios = (
    binary => sub {
        my ($stomp) = client();
        subscribed($stomp, $topic, id => 1);
        my $octets = pack 'C*', 0 .. 255;
        send_to($stomp, $topic, $octets, bytes_message => 1, mac => '52:54:00:aa:bb:cc');
        my $frame = frame($stomp, 'MESSAGE');
        bye($stomp);
        my $mac = $frame->headers->{mac};
        $mac =~ s/\\c/:/g; # it leaves the escapes of 1.1 and later to others
        return { body => unpack('H*', $frame->body), mac => $mac };
    },
    receipt => sub {
        my ($stomp) = client();
        send_to($stomp, $topic, 'x', receipt => 'r-1');
        my $first = frame($stomp, 'RECEIPT')->headers->{'receipt-id'};
        return { receipts => [ $first, bye($stomp) ] };
    },
    unsubscribe => sub {
        my ($stomp) = client();
        subscribed($stomp, $topic, id => 1);
        send_to($stomp, $topic, 'one');
        my @got = frame($stomp, 'MESSAGE')->body;
        $stomp->unsubscribe({ id => 1, destination => $topic });
        send_to($stomp, $topic, 'two');
        subscribed($stomp, "$topic-end", id => 2);
        send_to($stomp, "$topic-end", 'end');
        push @got, until_end($stomp);
        bye($stomp);
        return { got => \@got };
    },
    refused => sub {
        my ($stomp) = client();
        $stomp->subscribe({ destination => '/topic/forbidden', id => 1 });
        my $error = frame($stomp, 'ERROR')->headers->{message};
        my $octets = sysread $stomp->socket, my $more, 1;
        return { error => $error, closed => $octets ? JSON::PP::false : JSON::PP::true };
    },
    login => sub {
        my ($stomp, $frame) = client('wrong');
        return { error => $frame->headers->{message} };
    },
    ack => sub { ack_scenario('client') },
    ack_individual => sub { ack_scenario('client-individual') },
    nack => sub {
        my ($stomp) = client();
        $stomp->subscribe({ destination => $queue, id => 1, ack => 'client-individual' });
        answer($stomp, nack => frame($stomp, 'MESSAGE'));
        bye($stomp);
        return { nacked => JSON::PP::true };
    },
    transaction => sub {
        my ($stomp) = client();
        my $control = sub { $stomp->send_frame(Net::Stomp::Frame->new(
            { command => $_[0], headers => { transaction => $_[1] } })) };
        subscribed($stomp, $topic, id => 1);
        $control->(BEGIN => 't1');
        send_to($stomp, $topic, 'a', transaction => 't1');
        send_to($stomp, $topic, 'outside');
        send_to($stomp, $topic, 'b', transaction => 't1');
        my @got = frame($stomp, 'MESSAGE')->body;
        $control->(COMMIT => 't1');
        $control->(BEGIN => 't2');
        send_to($stomp, $topic, 'aborted', transaction => 't2');
        $control->(ABORT => 't2');
        push @got, map { frame($stomp, 'MESSAGE')->body } 1 .. 2;
        # Its own way: BEGIN, SEND, and COMMIT when the next frame is the receipt.
        $stomp->send_transactional({ destination => $topic, body => 'end' }) or die 'no receipt';
        push @got, until_end($stomp);
        bye($stomp);
        return { got => \@got };
    },
    hold => sub {
        my ($stomp) = client();
        $stomp->subscribe({ destination => $queue, id => 1, ack => 'client' });
        print frame($stomp, 'MESSAGE')->body, "\n";
        sleep 60;
        return {};
    },
);

print encode_json($scenarios{$scenario}->()), "\n";
