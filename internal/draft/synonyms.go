package draft

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// ofOneKind is the percentage of a column's levels that have to be names of one kind of
// things, such as countries, for two of them to be told as names of the same one.
const ofOneKind = 80

// synonyms finds levels that name the same country, state of the USA or sex by other words:
// US beside USA, Germany beside DE. It returns the level that stands for each of the others.
func synonyms(levels map[string][]string) map[string]string {
	for _, named := range []func() map[string]string{countries, states, sexes} {
		of, known := named(), 0
		things := map[string][]string{}
		for _, level := range slices.Sorted(maps.Keys(levels)) {
			if thing := of[level]; thing != "" {
				known++
				things[thing] = append(things[thing], level)
			}
		}
		if known*100 < ofOneKind*len(levels) {
			continue
		}
		same := map[string]string{}
		for _, names := range things {
			for _, other := range names[1:] {
				same[other] = names[0]
			}
		}
		if len(same) > 0 {
			return same
		}
	}
	return nil
}

// countries are the names of countries, as unmarked has them, with each one's code: those of
// CLDR in English, the codes of ISO 3166 and some others.
var countries = sync.OnceValue(func() map[string]string {
	of := map[string]string{}
	names := display.English.Regions()
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			region, err := language.ParseRegion(code)
			if err != nil || !region.IsCountry() || region.Canonicalize() != region || region.String() != code {
				continue
			}
			for _, name := range []string{code, region.ISO3(), names.Name(region), strings.ReplaceAll(names.Name(region), "&", "and")} {
				of[unmarked(name)] = code
			}
		}
	}
	delete(of, unmarked("ZZZ")) // of those without a code
	for code, others := range map[string][]string{
		"AE": {"UAE"}, "AT": {"Österreich"}, "BO": {"Bolivia, Plurinational State of"}, "CH": {"Schweiz", "Suisse"},
		"CI": {"Ivory Coast", "Côte d'Ivoire"}, "CV": {"Cabo Verde"}, "CZ": {"Czech Republic", "Czechia"}, "DE": {"Deutschland"}, "ES": {"España"},
		"GB": {"UK", "Great Britain", "United Kingdom of Great Britain and Northern Ireland"}, "HK": {"Hong Kong"}, "IR": {"Iran, Islamic Republic of"},
		"IT": {"Italia"}, "KR": {"Korea, Republic of", "Republic of Korea", "Korea, South"}, "LA": {"Lao PDR"}, "MD": {"Republic of Moldova"}, "MK": {"Macedonia"},
		"MM": {"Burma", "Myanmar"}, "MO": {"Macau", "Macao"}, "NL": {"Holland", "The Netherlands"}, "PS": {"Palestine"}, "RU": {"Russian Federation"},
		"SK": {"Slovak Republic"}, "SY": {"Syrian Arab Republic"}, "SZ": {"Swaziland"}, "TR": {"Turkey", "Türkiye"}, "TW": {"Taiwan, Province of China"},
		"TZ": {"United Republic of Tanzania"}, "US": {"United States of America", "America"}, "VE": {"Venezuela, Bolivarian Republic of"}, "VN": {"Viet Nam"},
	} {
		for _, name := range others {
			of[unmarked(name)] = code
		}
	}
	return of
})

// states are the names and codes of the states of the USA.
var states = sync.OnceValue(func() map[string]string {
	return namesOf("AL Alabama|AK Alaska|AZ Arizona|AR Arkansas|CA California|CO Colorado|CT Connecticut|DE Delaware|DC District of Columbia|FL Florida|GA Georgia|" +
		"HI Hawaii|ID Idaho|IL Illinois|IN Indiana|IA Iowa|KS Kansas|KY Kentucky|LA Louisiana|ME Maine|MD Maryland|MA Massachusetts|MI Michigan|MN Minnesota|" +
		"MS Mississippi|MO Missouri|MT Montana|NE Nebraska|NV Nevada|NH New Hampshire|NJ New Jersey|NM New Mexico|NY New York|NC North Carolina|ND North Dakota|" +
		"OH Ohio|OK Oklahoma|OR Oregon|PA Pennsylvania|RI Rhode Island|SC South Carolina|SD South Dakota|TN Tennessee|TX Texas|UT Utah|VT Vermont|VA Virginia|" +
		"WA Washington|WV West Virginia|WI Wisconsin|WY Wyoming")
})

// namesOf reads a code and a name per thing.
func namesOf(list string) map[string]string {
	of := map[string]string{}
	for _, thing := range strings.Split(list, "|") {
		code, name, _ := strings.Cut(thing, " ")
		of[unmarked(code)], of[unmarked(name)] = code, code
	}
	return of
}

// sexes are words for them, and those that often stand beside them.
var sexes = sync.OnceValue(func() map[string]string {
	of := map[string]string{}
	for sex, words := range map[string]string{
		"male":   "m male man men masculine männlich mann homme masculin hombre masculino",
		"female": "f female w woman women feminine weiblich frau femme féminin mujer femenino",
		"other":  "other", "diverse": "d diverse divers", "unknown": "u unknown", "nonbinary": "nonbinary", "x": "x",
	} {
		for _, word := range strings.Fields(words) {
			of[unmarked(word)] = sex
		}
	}
	return of
})
