package redis

import (
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// vocabulary are requests of every kind whose replies are determined. In a
// template K is a key, T a key with the source's hash tag, N a small number, V a
// value and M a member. What stands behind a key belongs to it: each type of data
// has keys of its own, but for a few requests that are wrong on purpose.
const vocabulary = `
GETEX K EXAT 9999999999
GETEX K PERSIST
GETDEL K
GETSET K V
SUBSTR K 0 N
INCRBY K N
DECRBY K N
INCRBYFLOAT K 0.5
SETNX K V
SET K V NX
SET K V XX GET
SET K V KEEPTTL
SET K V EXAT 9999999999
SET K V EX 0
LCS T T
LCS T T LEN
LCS T T IDX WITHMATCHLEN
MSETNX T V T V
RENAME T T
RENAMENX T T
COPY T T REPLACE
COPY T T DB N
MOVE K N
MOVE K 0
UNLINK K K T
TOUCH K K T none
PEXPIRETIME K
EXPIREAT K 1
EXPIREAT K 9999999999 GT
OBJECT REFCOUNT K
OBJECT FREQ K
OBJECT HELP
OBJECT NOSUCH K
SETBIT Kb N 1
GETBIT Kb N
BITCOUNT Kb
BITCOUNT Kb 0 N BIT
BITPOS Kb 1
BITOP OR Tb Tb Tb
BITOP NOT Tb Tb
BITFIELD Kb GET u8 0 INCRBY i5 N 1
BITFIELD_RO Kb GET u4 0
PFADD Kp M M M
PFCOUNT Kp
PFCOUNT Tp Tp
PFMERGE Tp Tp Tp
GEOADD Kg 13.N 38.1 M 15.08 37.5 M
GEODIST Kg M M km
GEOHASH Kg M M
GEOPOS Kg M none
GEOSEARCH Kg FROMLONLAT 15 37 BYRADIUS 200 km ASC
GEOSEARCHSTORE Tg Tg FROMLONLAT 15 37 BYBOX 400 400 km
GEORADIUS Tg 15 37 200 km STORE Tz
LPUSH Kl N N
LPUSHX Kl N
LINSERT Kl BEFORE N M
LSET Kl N M
LSET Kl 0 M
LREM Kl 1 N
LTRIM Kl 0 9
LINDEX Kl N
LPOS Kl N RANK 1 COUNT 0
LPOP Kl N
RPOP Kl
LMPOP 2 Tl Tl LEFT COUNT 2
RPOPLPUSH Tl Tl
BRPOP Kl 0.001
BLMPOP 0.001 2 Tl Tl RIGHT
BRPOPLPUSH Tl Tl 0.001
BLPOP Tl Tl Tl 0.001
SORT Tl LIMIT 0 5 DESC
SORT Tl ALPHA STORE Tl
SORT Tl BY {TAG}w_* GET # GET {TAG}w_*
SORT_RO Tl BY nosort
HSET Kh M N M N
HMGET Kh M M none
HGETALL Kh
HKEYS Kh
HVALS Kh
HINCRBY Kh M N
HINCRBYFLOAT Kh M 0.25
HSETNX Kh M N
HSTRLEN Kh M
HEXISTS Kh M
HDEL Kh M M
HRANDFIELD none
HSCAN none 0
SMEMBERS Ks
SADD Ks N N N
SREM Ks N
SCARD Ks
SMISMEMBER Ks N N
SMOVE Ts Ts N
SINTER Ts Ts
SUNION Ts Ts
SDIFF Ts Ts
SUNIONSTORE Ts Ts Ts
SDIFFSTORE Ts Ts
SPOP none
ZADD Kz NX N M
ZADD Kz GT CH N M N M
ZADD Kz INCR N M
ZCARD Kz
ZCOUNT Kz 2 (9
ZINCRBY Kz 1.5 M
ZLEXCOUNT Kz - +
ZMSCORE Kz M none
ZSCORE Kz M
ZRANK Kz M
ZREVRANK Kz M
ZRANGE Kz 0 9 BYSCORE LIMIT 0 3
ZRANGEBYSCORE Kz -inf +inf WITHSCORES
ZREVRANGE Kz 0 -1
ZREVRANGEBYLEX Kz + - LIMIT 1 2
ZRANGESTORE Tz Tz 0 -1
ZREM Kz M
ZREMRANGEBYRANK Kz 0 0
ZREMRANGEBYSCORE Kz 40 50
ZPOPMIN Kz
ZPOPMAX Kz 2
ZMPOP 1 Kz MIN
BZPOPMIN Kz 0.001
BZMPOP 0.001 2 Tz Tz MAX COUNT 2
ZUNION 2 Tz Tz WITHSCORES
ZUNIONSTORE Tz 2 Tz Tz WEIGHTS 1 2 AGGREGATE MAX
ZINTER 2 Tz Tz
ZINTERCARD 2 Tz Tz LIMIT 2
ZDIFF 2 Tz Tz
ZDIFFSTORE Tz 2 Tz Tz
XADD Kx N-1 f V
XADD Kx MAXLEN 5 1N-2 f V
XLEN Kx
XRANGE Kx - +
XREVRANGE Kx + - COUNT 2
XDEL Kx N-1
XTRIM Kx MAXLEN 3
XREAD COUNT 2 STREAMS Kx 0
XREAD COUNT 2 STREAMS Tx Tx 0 0
XREAD BLOCK 1 STREAMS Kx $
XGROUP CREATE Kx g 0 MKSTREAM
XGROUP DESTROY Kx g
XGROUP CREATECONSUMER Kx g c
XREADGROUP GROUP g c COUNT 1 STREAMS Kx >
XREADGROUP GROUP g c STREAMS Kx 0
XPENDING Kx g
XACK Kx g N-1
XAUTOCLAIM Kx g d 0 0 COUNT 2 JUSTID
XINFO GROUPS Kx
XSETID Kx 20-0
EVAL "return redis.call('SET', KEYS[1], ARGV[1])" 1 K V
EVAL "return {1, {2, 'x', false}, redis.call('GET', KEYS[1])}" 1 K
EVAL "return redis.error_reply('MY own')" 1 K
EVAL "return redis.call('INCR', KEYS[1])" 1 Kl
EVAL "return redis.pcall('INCR', KEYS[1])" 2 T T
EVAL "redis.setresp(3); return redis.call('HGETALL', KEYS[1])" 1 Kh
EVAL "return {double=1.5}" 1 K
EVAL "return nosuch" 1 K
EVAL "syntax" 1 K
EVAL "return 1" 0
EVAL "return #ARGV[1]" 1 K V
EVAL_RO "return redis.call('SET', KEYS[1], 'x')" 1 K
EVAL_RO "return redis.call('GET', KEYS[1])" 1 K
EVALSHA ffffffffffffffffffffffffffffffffffffffff 1 K
EVALSHA 1fa00e76656cc152ad327c13fe365858fd7be306 1 K
SCRIPT EXISTS ffff
SCRIPT LOAD "return 42"
FCALL nosuch 1 K
FCALL nosuch 0
COMMAND GETKEYS MSET a 1 b 2
COMMAND INFO get nosuch
CLIENT SETNAME cN
CLIENT GETNAME
CLIENT NOSUCH
CLIENT REPLY FOO
CLIENT TRACKING OFF
CONFIG GET nosuch
CONFIG NOSUCH
MEMORY NOSUCH
WAIT 0 1
LATENCY HISTOGRAM nosuch
PUBSUB NUMSUB nobody
PUBLISH nobody V
SPUBLISH nobody V
UNSUBSCRIBE
PUNSUBSCRIBE none
HELLO 9
AUTH a
AUTH nobody b
READONLY
ASKING
RESET
GET
SETEX K 1
LPUSH K N
INCR Kl
GET Kz
ZADD Kz x M
XADD Kx 0-0 f V
TYPE Kx
`

// templates are the lines of the vocabulary.
func templates() [][]string {
	var all [][]string
	for line := range strings.Lines(vocabulary) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, words(line))
		}
	}
	return all
}

// vocable makes a request of a template.
func (t *talk) vocable() []string {
	if t.templates == nil {
		t.templates = templates()
	}
	template := t.templates[t.IntN(len(t.templates))]
	request := make([]string, len(template))
	for i, word := range template {
		request[i] = t.fill(word, i)
	}
	return request
}

func (t *talk) fill(word string, i int) string {
	number := fmt.Sprint(1 + t.IntN(9))
	switch {
	case i == 0:
		return word
	case word == "V":
		return t.value()
	case word == "M":
		return "m" + number
	case len(word) <= 2 && word[0] == 'K':
		return t.key() + word[1:]
	case len(word) <= 2 && word[0] == 'T':
		return t.tagged() + word[1:]
	case strings.Contains(word, "TAG"):
		return strings.Replace(word, "TAG", fmt.Sprintf("c%d", t.id), 1)
	case word == "cN" || strings.HasSuffix(word, ".N") || len(word) <= 4 && strings.Contains(word, "N-"), word == "N":
		return strings.Replace(word, "N", number, 1)
	}
	return word
}

// skipped asks for no reply to the request behind it.
var skipped = redistest.Command("CLIENT", "REPLY", "SKIP")

// silent reports whether a request has no reply.
func silent(request string) bool {
	return request == "\r\n" || request == "*0\r\n" || strings.HasPrefix(request, skipped)
}
